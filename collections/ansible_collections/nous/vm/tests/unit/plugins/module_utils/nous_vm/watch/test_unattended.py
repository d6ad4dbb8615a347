# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The row on unattended upgrades is green only if they are started, may do something, and did."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.watch import unattended
from ansible_collections.nous.vm.plugins.plugin_utils.roles import host_watch

BEGIN = "2026-11-28 06:12:49,200 INFO Starting unattended upgrades script\n"
NOTHING = "2026-11-28 06:12:55,566 INFO No packages found that can be upgraded unattended and no pending auto-removals\n"
DAY = 86400
AT = "2026-11-28 06:13:00,000"


class Host:
    """A host on which all is well, until a test says otherwise."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.timers, self.settings = folder, dict.fromkeys(unattended.TIMERS, "active"), "APT::Periodic::Unattended-Upgrade 1\n"
        for name in ("PROGRAM", "OURS", "STAMP", "LOG", "LISTS"):
            monkeypatch.setattr(unattended, name, folder / name)
        for name in ("PROGRAM", "OURS", "STAMP"):
            (folder / name).touch()
        (folder / "LISTS").mkdir()
        for name in ("deb.debian.org_debian_dists_trixie_InRelease", "deb.debian.org_debian-security_dists_trixie-security_InRelease"):
            (folder / "LISTS" / name).touch()
        (folder / "LOG").write_text(BEGIN + NOTHING)
        monkeypatch.setattr(unattended, "show_all", lambda units, *_names: {unit: {"ActiveState": self.timers[unit]} for unit in units})
        monkeypatch.setattr(unattended, "run", lambda *_given, **_more: Completed(0, self.settings.encode(), b""))
        monkeypatch.setattr(time, "clock_gettime", lambda _clock: 10.0 * DAY)

    def aged(self, days: float, *names: str) -> None:
        for name in names:
            os.utime(self.folder / name, (time.time() - days * DAY,) * 2)

    @property
    def row(self) -> tuple[str, str]:
        found = unattended.check()
        assert found.name == "unattended upgrades"
        return found.status, found.detail


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_all_is_well(host: Host) -> None:
    assert host.row[0] == "ok" and host.row[1].startswith("last run 20")
    host.aged(2.9, "STAMP", "OURS")
    assert host.row[0] == "ok"


def test_nothing_yet(host: Host) -> None:
    for name in ("STAMP", "LOG"):
        (host.folder / name).unlink()
    assert host.row == ("ok", "not yet")
    host.aged(4, "OURS")
    assert host.row == ("fail", "not yet; sudo systemctl start apt-daily-upgrade.service; journalctl --unit=apt-daily-upgrade.service")


def test_a_timer_that_is_stopped(host: Host) -> None:
    host.timers["apt-daily.timer"] = "inactive"
    assert host.row == ("fail", "not started: apt-daily.timer; sudo systemctl enable --now apt-daily.timer")


@pytest.mark.parametrize("name", ["PROGRAM", "OURS"])
def test_what_is_not_there(host: Host, name: str) -> None:
    (host.folder / name).unlink()
    assert host.row == ("fail", f"{host.folder / name} is not there; run the site")


@pytest.mark.parametrize(("setting", "value"), [("APT::Periodic::Unattended-Upgrade", "0"), ("APT::Periodic::Enable", "false")])
def test_a_file_of_somebody_that_turns_them_off(host: Host, setting: str, value: str) -> None:
    host.settings = f"APT::Periodic::Unattended-Upgrade 1\n{setting} {value}\n"
    assert host.row == ("fail", f"{setting} {value} turns them off; look for who sets it: grep --recursive {setting} /etc/apt/apt.conf.d")


def test_it_was_not_run_for_days(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.aged(4, "STAMP", "OURS")
    assert host.row[0] == "fail"
    monkeypatch.setattr(time, "clock_gettime", lambda _clock: 600.0)
    assert host.row[0] == "ok", "a host that was off for a week gets its time"


@pytest.mark.parametrize(
    ("lines", "status", "text"),
    [
        (f"{AT} ERROR Installing the upgrades failed!\n{AT} ERROR dpkg \x1b[2J\n", "fail", "Installing the upgrades failed!"),
        (f"{AT} WARNING Package x is kept back\x1b[2J\n", "warn", "Package x is kept back\\x1b[2J"),
        (f"{AT} WARNING Found /var/run/reboot-required, rebooting\n{AT} WARNING Shutdown msg: b'x'\n", "ok", ""),
        (f"{AT} ERROR of the run before\n{BEGIN}{NOTHING}", "ok", ""),
        (f"{AT} ERROR of the run before\n{'x' * unattended.TAIL}\n{NOTHING}", "ok", ""),
    ],
)
def test_what_the_last_run_complains_of(host: Host, lines: str, status: str, text: str) -> None:
    (host.folder / "LOG").write_text(BEGIN + lines)
    found = host.row
    assert found[0] == status
    assert text in found[1] and "\x1b" not in found[1]
    assert (f"sudo less {host.folder / 'LOG'}; sudo systemctl start" in found[1]) == bool(text)


def test_a_log_that_is_none(host: Host) -> None:
    (host.folder / "LOG").unlink()
    os.mkfifo(host.folder / "LOG")
    assert host.row[0] == "ok"


def test_there_is_nothing_to_install_from(host: Host) -> None:
    (host.folder / "LISTS/deb.debian.org_debian-security_dists_trixie-security_InRelease").unlink()
    assert host.row[0] == "warn" and "apt has no source of security updates" in host.row[1]
    (host.folder / "LISTS/deb.debian.org_debian_dists_trixie_InRelease").unlink()
    assert host.row[0] == "ok", "there are no lists at all, which has a row of its own"


def test_the_role_writes_what_the_row_looks_for() -> None:
    assert str(unattended.OURS) == host_watch.APT_FILE
    assert str(unattended.PROGRAM) == host_watch.PROGRAM
    assert unattended.TIMERS == host_watch.APT_TIMERS
