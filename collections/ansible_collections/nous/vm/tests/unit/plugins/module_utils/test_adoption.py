# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the probe finds of nous's own bundle, and what of a host of ours it does not take for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils._probe import adoption as probe

OURS = "# Managed by Ansible (nous.vm).\n"


class Host:
    """A host below a folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        for name, path in {"UNITS": "units", "RULES": "logrotate.d", "ENVIRONMENT": "nous.env", "BEGUN": "adopting"}.items():
            monkeypatch.setattr(probe, name, folder / path)
        self.root, self.log, self.user = folder / "opt", folder / "log/audit.jsonl", str(os.geteuid())

    def put(self, path: str, content: str = "") -> str:
        made = self.folder / path
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_text(content, encoding="utf-8")
        return str(made)

    def found(self) -> dict[str, Any]:
        return probe.bundle({"root": str(self.root), "log": str(self.log), "user": self.user})


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def test_a_bare_host_has_nothing_of_it(host: Host) -> None:
    assert not any(host.found().values())


def test_all_of_it_is_found_at_once(host: Host) -> None:
    units = [host.put(f"units/{name}") for name in ("nous.service", "nous-state-flush.service", "nous-state-flush.timer")]
    updater = [host.put(f"units/nous-auto-update.{kind}") for kind in ("timer", "service")]
    mine = host.put("units/nous.service.d/mine.conf", "[Service]\n")
    checkout = [host.put(f"opt/{name}") for name in ("deploy/install.sh", "pyproject.toml")]
    host.put("opt/releases/one/release.json")
    rule = host.put("logrotate.d/nous", f"{host.log} {{\n}}\n")
    host.put("logrotate.d/others", f"# {host.log}\n{host.log}x {{\n}}\n/var{host.log}\n")
    host.put("nous.env", "NOUS_POLICY='open'\n NOUS_HOME=/var/lib/nous\nNOUS_ANTHROPIC_API_KEY=canary\nOTHER=1\n#NOUS_X=1\nNOUS_PROFILE=\"\n")
    update = host.put("log/auto-update.log")
    found = host.found()
    assert set(found["left"]) == {*units, *updater, mine, str(host.root), rule}
    assert found["running"] == sorted(Path(path).name for path in units + updater)
    assert found["entries"] == [str(host.root / "deploy"), checkout[1]]
    assert found["settings"] == {"NOUS_POLICY": "open", "NOUS_HOME": "/var/lib/nous", "NOUS_PROFILE": '"'}
    assert found["secrets"] == ["NOUS_ANTHROPIC_API_KEY"]
    assert found["updates"] == [update]
    assert "canary" not in str(found)


def test_what_is_ours_is_not_taken_for_it(host: Host) -> None:
    target = host.put("generation/nous.service")
    (host.folder / "units").mkdir()
    (host.folder / "units/nous.service").symlink_to(target)
    host.put("units/nous.service.d/mine.conf")
    host.put("units/nous-state-flush.timer", OURS)
    host.put("opt/releases/one/venv/x")
    host.put("opt/backups/x")
    host.put("nous.env", f"{OURS}NOUS_HOME=/var/lib/nous\n")
    host.put("log/auto-update.log")
    assert not any(host.found().values())


def test_one_folder_of_its_name_is_no_checkout(host: Host) -> None:
    host.put("opt/deploy/x")
    assert host.found()["left"] == {}


def test_settings_of_ours_are_not_read_when_the_updater_came_back(host: Host) -> None:
    host.put("units/nous-auto-update.timer")
    host.put("nous.env", f"{OURS}NOUS_HOME=/elsewhere\n")
    assert host.found()["settings"] == {}


def test_a_log_elsewhere_is_moved_last(host: Host) -> None:
    host.put("units/nous.service")
    names = ["trail.jsonl.1", "trail.jsonl.2.gz", "audit-anchors.jsonl", "trail.jsonl"]
    old = [host.put(f"elsewhere/{name}") for name in names]
    host.put("elsewhere/trail.jsonl.old")
    host.put("nous.env", f"NOUS_AUDIT_PATH={old[3]}\n")
    found = host.found()
    assert list(found["logs"]) == old
    assert [Path(path).name for path in found["logs"].values()] == ["audit.jsonl.1", "audit.jsonl.2.gz", "audit-anchors.jsonl", "audit.jsonl"]
    assert found["conflict"] == ""
    host.put("log/audit.jsonl")
    assert host.found()["conflict"] == old[3]


@pytest.mark.parametrize("how", ["another's", "a link", "a second name"])
def test_what_the_settings_name_is_moved_only_if_it_is_the_servers_own(host: Host, how: str) -> None:
    """The bundle gives /etc/nous to the server, which could name a key of the host as its log."""
    host.put("units/nous.service")
    log = host.put("elsewhere/audit.jsonl")
    host.put("nous.env", f"NOUS_AUDIT_PATH={log}\n")
    assert host.found()["foreign"] == []
    key = host.put("etc/ssh/key")
    if how == "another's":
        host.user = str(os.geteuid() + 1)
    else:
        os.unlink(log)
        (os.symlink if how == "a link" else os.link)(key, log)
    assert host.found()["foreign"] == [log]


def test_a_log_in_its_place_stays(host: Host) -> None:
    host.put("units/nous.service")
    for name in ("audit.jsonl", "audit.jsonl.1", "audit-anchors.jsonl"):
        host.put(f"log/{name}")
    assert (host.found()["logs"], host.found()["conflict"]) == ({}, "")


def test_an_adoption_that_was_interrupted_names_its_folder(host: Host) -> None:
    host.put("adopting", "/var/lib/nous-vm/adopted/1\n")
    assert host.found()["begun"] == "/var/lib/nous-vm/adopted/1"


def test_a_file_that_is_too_large_hangs_nothing(host: Host) -> None:
    host.put("units/nous.service", "x" * (probe.SIZE + 1))
    host.put("nous.env", "x" * (probe.SIZE + 1))
    assert list(host.found()["left"]) == [str(host.folder / "units/nous.service")]
