# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows on the host itself: each is seen green, and red for what it is about."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.health import Row
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.watch import (
    check,
    clock,
    configuration,
    failures,
    firewall,
    identity,
    space,
    state,
    strangers,
    summary,
    told,
    unattended,
    units,
    updates,
)

CONFIG = configuration.Configuration(["nous.service"], ["/opt/nous"], [], [80], [], "json", ["alert-url"], "", True, "04:30")
FINE = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "Result": "success", "NeedDaemonReload": "no"}
GIB = space.GIB


def by_name(rows: list[Row]) -> dict[str, Row]:
    return {row.name: row for row in rows}


class TestUnits:
    def found(self, monkeypatch: pytest.MonkeyPatch, recent: dict[str, str], **changes: str) -> dict[str, Row]:
        monkeypatch.setattr(failures, "recent", lambda: recent)
        return by_name(list(units.own_rows({"nous.service": dict(FINE), "x.timer": FINE | changes})))

    def test_all_is_well(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert {row.status for row in self.found(monkeypatch, {}).values()} == {"ok"}

    @pytest.mark.parametrize(
        ("changes", "name", "status", "detail"),
        [
            ({"LoadState": "masked", "ActiveState": "inactive"}, "masked units", "fail", "x.timer; sudo systemctl unmask x.timer, then run the site"),
            ({"LoadState": "not-found", "ActiveState": "inactive"}, "units there", "fail", "x.timer cannot be loaded; run the site"),
            ({"UnitFileState": "disabled"}, "units at boot", "fail", "not enabled: x.timer; sudo systemctl enable --now x.timer"),
            ({"ActiveState": "inactive"}, "timers", "fail", "not started: x.timer; sudo systemctl start x.timer"),
            ({"ActiveState": "failed", "Result": "exit-code"}, "failed units", "fail", "x.timer failed (exit-code): journalctl --unit=x.timer"),
            ({"NeedDaemonReload": "yes"}, "units as on disk", "warn", "changed on disk: x.timer; sudo systemctl daemon-reload"),
        ],
    )
    def test_what_is_wrong(self, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], name: str, status: str, detail: str) -> None:
        found = self.found(monkeypatch, {}, **changes)
        assert found[name] == Row(name, status, detail)
        assert [row.name for row in found.values() if row.status == "fail" and row.name != name] in ([], ["timers"])

    @pytest.mark.parametrize("kind", ["timer", "socket", "path"])
    def test_what_starts_others_is_to_be_started(self, kind: str) -> None:
        found = by_name(list(units.own_rows({f"x.{kind}": FINE | {"ActiveState": "inactive"}, "x.service": FINE | {"ActiveState": "inactive"}})))
        assert found["timers"] == Row("timers", "fail", f"not started: x.{kind}; sudo systemctl start x.{kind}")

    def test_a_unit_that_failed_and_works_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        row = self.found(monkeypatch, {"nous.service": "signal"})["failed units"]
        assert (row.status, row.detail) == ("warn", "nous.service failed (signal) in the last 15 min")

    def test_a_unit_that_was_stopped_at_work_is_no_failure(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stopped = {"ActiveState": "failed", "Result": "signal", "ExecMainStatus": "15"}
        assert self.found(monkeypatch, {}, **stopped)["failed units"].status == "ok"
        assert self.found(monkeypatch, {}, **stopped | {"ExecMainStatus": "9"})["failed units"].status == "fail"

    def test_ours_are_named_or_begin_so(self, tmp_path: Path) -> None:
        for name in ("nous-a.service", "nous-a.service.d", "nous-b@.service", "other.service", "nous-c.timer"):
            (tmp_path / name).touch()
        assert units.ours(["caddy.service", "nous-"], tmp_path) == ["caddy.service", "nous-a.service", "nous-c.timer"]

    def test_the_journal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(units, "show_all", lambda names, *_properties: dict.fromkeys(names, FINE))
        assert by_name(list(units.check([]))) == {"journal": Row("journal", "ok", "systemd-journald.service is active")}
        assert "unmask systemd-journald.service" in units.journal_row(FINE | {"LoadState": "masked"}).detail
        assert units.journal_row(FINE | {"ActiveState": "failed"}).status == "fail"


class TestSpace:
    @pytest.mark.parametrize(
        ("free", "of", "status"),
        [(50, 100, "ok"), (3, 100, "warn"), (0.9, 100, "fail"), (40, 1000, "ok"), (0.08, 1, "warn"), (0.04, 1, "fail")],
    )
    def test_space(self, monkeypatch: pytest.MonkeyPatch, free: float, of: float, status: str) -> None:
        monkeypatch.setattr(space, "file_systems", lambda: [space.FileSystem("/", int(of * GIB), int(free * GIB), 1000, 900)])
        found = by_name(list(space.check()))
        assert (found["space of /"].status, found["inodes of /"].status) == (status, "ok")

    @pytest.mark.parametrize(("free", "status"), [(40, "fail"), (80, "warn"), (800, "ok")])
    def test_inodes(self, monkeypatch: pytest.MonkeyPatch, free: int, status: str) -> None:
        monkeypatch.setattr(space, "file_systems", lambda: [space.FileSystem("/v", 100 * GIB, 90 * GIB, 1000, free), space.FileSystem("/b", GIB, GIB, 0, 0)])
        assert by_name(list(space.check()))["inodes of /v"].status == status

    def test_file_systems(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file, other = tmp_path / "file", tmp_path / "a b"
        file.touch()
        other.mkdir()
        lines = [
            f"1 0 8:1 / {tmp_path}/a\\040b rw - ext4 /dev/sda1 rw",
            f"2 0 8:1 / {tmp_path}/a\\040b/deeper rw - ext4 /dev/sda1 rw",
            f"3 0 8:2 / {file} rw - ext4 /dev/sdb rw",
            "4 0 8:3 / /ro rw - ext4 /dev/sdc ro",
            "5 0 0:3 / /run rw - tmpfs tmpfs rw",
            f"6 0 8:4 / {tmp_path}/gone rw - xfs /dev/sdd rw",
        ]
        (tmp_path / "mounts").write_text("\n".join(lines), encoding="utf-8")
        monkeypatch.setattr(space, "MOUNTS", tmp_path / "mounts")
        assert [each.place for each in space.file_systems()] == [str(other)]


class TestClock:
    @pytest.mark.parametrize(
        ("status", "container", "up", "row"),
        [(0, False, 9e9, "ok"), (0x40, False, 9e9, "fail"), (0x40, False, 10, "warn"), (0x40, True, 9e9, "warn"), (None, False, 9e9, "unknown")],
    )
    def test_clock(self, monkeypatch: pytest.MonkeyPatch, status: int | None, container: bool, up: float, row: str) -> None:
        monkeypatch.setattr(clock, "status", lambda: status)
        monkeypatch.setattr(clock, "is_container", lambda: container)
        monkeypatch.setattr(time, "clock_gettime", lambda _clock: up)
        assert clock.check().status == row

    def test_the_kernel_says_something(self) -> None:
        assert isinstance(clock.status(), int)


class TestUpdates:
    @pytest.fixture
    def apt(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Completed]:
        """What apt prints, an answer a question."""
        answers: list[Completed] = []
        for name in ("LISTS", "INSTALLED", "KNOWN", "REBOOT", "BOOT"):
            monkeypatch.setattr(updates, name, tmp_path / name.lower())
        (tmp_path / "lists").mkdir()
        (tmp_path / "lists/deb_InRelease").touch()
        (tmp_path / "installed").touch()
        monkeypatch.setattr(updates, "run", lambda _argv, **_options: answers.pop(0))
        return answers

    def test_pending_and_asked_once(self, apt: list[Completed]) -> None:
        lines = [
            "Inst libc6 [2.41-1] (2.41-2 Debian-Security:13/stable-security [amd64]) []",
            "Inst bash [5.2] (5.3 Debian:13.1/stable [amd64])",
            "Conf bash (5.3 Debian:13.1/stable [amd64])",
        ]
        apt.append(Completed(0, "\n".join(lines).encode(), b""))
        assert updates.security() == Row("security updates", "warn", "1 pending: libc6; sudo apt upgrade")
        assert updates.security().status == "warn"  # apt is not asked again: it would have no answer
        os.utime(updates.INSTALLED, (1, 1))
        apt.append(Completed(0, b"Inst bash [5.2] (5.3 Ubuntu:24.04/noble-updates [amd64])", b""))
        assert updates.security() == Row("security updates", "ok", "none pending, 1 others")

    def test_what_apt_cannot_tell(self, apt: list[Completed]) -> None:
        apt.append(Completed(100, b"", b"E: dpkg was interrupted, you must manually run 'dpkg --configure -a'"))
        row = updates.security()
        assert (row.status, "dpkg was interrupted" in row.detail) == ("fail", True)

    def test_lists_that_are_old_or_absent(self, apt: list[Completed]) -> None:
        apt += [Completed(0, b"", b"")]
        os.utime(updates.LISTS, (time.time() - updates.OLD - 10,) * 2)
        assert updates.security().status == "unknown"
        (updates.LISTS / "deb_InRelease").unlink()
        assert updates.security().detail == "there are no package lists; sudo apt update"

    def test_reboot(self, apt: list[Completed]) -> None:
        assert updates.reboot("").status == "ok"
        updates.BOOT.mkdir()
        (updates.BOOT / "vmlinuz-1.2.3-amd64").touch()
        assert updates.reboot("").status == "ok"
        (updates.BOOT / "vmlinuz-99.10.1-amd64").touch()
        assert "the kernel 99.10.1-amd64" in updates.reboot("").detail
        updates.REBOOT.touch()
        assert updates.reboot("").detail == "needed for what was upgraded; sudo systemctl reboot"
        assert updates.reboot("04:30").detail == "needed for what was upgraded; unattended-upgrades does it at 04:30, or now: sudo systemctl reboot"


class TestStrangers:
    NAMES = ("/opt/nous", "127.0.0.1:8088")

    def found(self, root: Path, path: str, content: str, known: list[str] | None = None) -> dict[str, str]:
        (root / "etc/systemd/system").mkdir(parents=True, exist_ok=True)
        (root / "etc/systemd/system/nous-x.service").write_text("# Managed by Ansible (nous.vm).\nExecStart=/opt/nous/x\n", encoding="utf-8")
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content, encoding="utf-8")
        return strangers.strangers([*self.NAMES], ["caddy.service", "nous-"], known or [], root)

    @pytest.mark.parametrize(
        ("path", "content", "what"),
        [
            ("etc/systemd/system/nous-auto-update.service", "ExecStart=/opt/nous/deploy/auto-update.sh", "/opt/nous"),
            ("etc/systemd/system/old.timer", "[Timer]\nUnit=nous-x.service", "nous-x.service"),
            ("etc/logrotate.d/nous", "/opt/nous/log {\n}", "/opt/nous"),
            ("etc/cron.d/job", "* * * * * root systemctl restart caddy.service", "caddy.service"),
            ("var/spool/cron/crontabs/root", "* * * * * curl 127.0.0.1:8088", "127.0.0.1:8088"),
        ],
    )
    def test_who_names_ours(self, tmp_path: Path, path: str, content: str, what: str) -> None:
        assert self.found(tmp_path, path, content) == {str(tmp_path / path): what}
        assert self.found(tmp_path, path, content, [str(tmp_path / path)]) == {}

    @pytest.mark.parametrize(
        ("path", "content"),
        [
            ("etc/cron.d/job", "# /opt/nous\n* * * * * root /opt/nousy /srv/opt/nous"),
            ("etc/systemd/system/caddy.service.d/mine.conf", "[Service]\nEnvironment=A=/opt/nous"),
            ("etc/cron.d/job", "x" * (strangers.SIZE + 1) + "/opt/nous"),
        ],
    )
    def test_who_does_not(self, tmp_path: Path, path: str, content: str) -> None:
        assert self.found(tmp_path, path, content) == {}

    def test_the_row(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(strangers, "strangers", lambda *_given: {})
        assert strangers.check([], [], []).status == "ok"
        monkeypatch.setattr(strangers, "strangers", lambda *_given: {f"/etc/cron.d/{number}": "/opt/nous" for number in range(9)})
        row = strangers.check([], [], [])
        assert (row.status, "and 4 more; stop and remove it" in row.detail) == ("fail", True)
        assert "nous.vm.adopt" not in row.detail
        monkeypatch.undo()
        assert strangers.strangers([], [], [], tmp_path) == {}

    def test_what_is_of_the_bundle_is_adopted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(strangers, "strangers", lambda *_about: {"/etc/systemd/system/nous-auto-update.timer": "nous.service"})
        assert strangers.check([], [], []).detail.endswith("nous's own bundle is taken over by ansible-playbook nous.vm.adopt")


class TestTold:
    @pytest.mark.parametrize(
        ("timer", "at", "since", "status"),
        [("active", 0, 10, "ok"), ("active", 2000, 5000, "fail"), ("active", 100, 5000, "ok"), ("inactive", 100, 5000, "fail")],
    )
    def test_the_watch(self, monkeypatch: pytest.MonkeyPatch, timer: str, at: float, since: float, status: str) -> None:
        started = str(int((time.monotonic() - since) * 1e6))
        monkeypatch.setattr(told, "show", lambda *_given: {"ActiveState": timer, "ActiveEnterTimestampMonotonic": started})
        assert told.watch(state.State(at=time.time() - at if at else 0.0)).status == status

    def test_all_rows_and_the_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        row = Row("x", "ok", "y")
        for module, name in ((check, "load"), (summary, "load")):
            monkeypatch.setattr(module, name, lambda: CONFIG)
        monkeypatch.setattr(state, "load", state.State)
        monkeypatch.setattr(told, "show", lambda *_given: {"ActiveState": "active"})
        for module, name in ((space, "check"), (units, "check")):
            monkeypatch.setattr(module, name, lambda *_given: iter([row]))
        for module, name in (
            (clock, "check"),
            (identity, "check"),
            (updates, "security"),
            (updates, "reboot"),
            (unattended, "check"),
            (firewall, "check"),
            (strangers, "check"),
        ):
            monkeypatch.setattr(module, name, lambda *_given: row)
        monkeypatch.setattr(check, "sandbox", lambda unit, _most: row._replace(name=f"sandbox of {unit}"))
        assert [each.name for each in check.check()] == ["watch", "alerts", *["x"] * 9, "mode of alert-url", "sandbox of host-watch.service"]
        assert list(summary.summary()) == [("alerts", "to the url; nothing waits")]

    def test_nobody_is_told(self) -> None:
        assert told.alerts(CONFIG._replace(secrets=[]), state.State()).detail.startswith("nobody is told")


def test_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "PATH", tmp_path / "watch.json")
    with pytest.raises(Exception, match="apply the role host_watch"):
        configuration.load()
    given: dict[str, Any] = CONFIG._asdict()
    configuration.PATH.write_text(json.dumps(given), encoding="utf-8")
    assert configuration.load() == CONFIG
    assert configuration.host()
