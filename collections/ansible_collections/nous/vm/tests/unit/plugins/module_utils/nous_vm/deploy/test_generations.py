# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generations: complete folders that are never changed after, and systemd's word on which of them it has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import running
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.operations import check, deploy, roll_back
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fakes import NAMES, Host
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.test_deployment import assert_sound


def numbers(host: Host) -> list[str]:
    return sorted(path.name for path in (host.folder / "generations").iterdir())


def test_a_unit_says_which_generation_and_which_release_it_is_of(host: Host) -> None:
    folder = host.folder / "generations/1"
    text = (host.folder / "current" / NAMES.server).read_text()
    assert f"EnvironmentFile={folder}/nous.env\n" in text
    assert f"ExecStart={host.root}/releases/good\n" in text
    assert f"{host.folder}/current" not in text
    assert (host.folder / "current").readlink() == Path("generations/1")
    assert host.current() == "good"
    assert [path for path in folder.rglob("*") if path.is_symlink()] == [], "who looks through /etc does not come to a release"
    assert (host.units / NAMES.server).readlink() == host.folder / "current" / NAMES.server
    assert (host.units / "multi-user.target.wants" / NAMES.server).readlink() == host.units / NAMES.server
    assert {path.stat().st_mode & 0o777 for path in (folder / "generation.json", folder / "identity/server")} == {0o600}


def test_nothing_new_makes_no_generation(host: Host) -> None:
    assert deploy(host.service(), "good", again=False)["changed"] is False
    deploy(host.service(), "good", again=True)
    assert numbers(host) == ["1"]
    host.files[1].write_text("better\n")
    deploy(host.service(), "good", again=False)
    host.files[1].write_text("good\n")
    assert deploy(host.service(), "good", again=False)["reason"] is None
    assert numbers(host) == ["1", "2"], "what was there before is used again"
    assert (host.folder / "current").readlink().name == "1"


def test_rolling_back_moves_the_link_and_brings_the_files_of_then(host: Host) -> None:
    host.files[1].write_text("of other\n")
    deploy(host.service(), host.build("other"), again=False)
    assert roll_back(host.service(), None)["reason"] is None
    assert (host.folder / "current").readlink().name == "1"
    assert (host.folder / "current/nous.env").read_text() == "good\n"
    assert host.files[1].read_text() == "of other\n", "what the role requests is the role's"
    assert_sound(host, "good")


def test_no_revoked_credential_comes_back(host: Host) -> None:
    host.files[4].write_text("new key\n")
    assert check(host.service(), "good", again=False)["actions"] == ["start"]
    assert deploy(host.service(), host.build("crash"), again=False)["rollback"] == "good answers again"
    assert (host.copies / NAMES.server / "signing-key").read_text() == "new key\n"
    assert check(host.service(), "good", again=False)["actions"] == []


def test_what_systemd_has_is_compared(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the link moved, systemd says that nothing is to be reloaded, and starts the old text: seen with 257."""
    host.systemd.loaded[NAMES.server] = host.systemd.loaded[NAMES.server].replace("generations/1", "generations/0")
    assert check(host.service(), "good", again=False)["actions"] == ["reload"]
    assert deploy(host.service(), "good", again=False)["actions"] == ["reload"]
    monkeypatch.setattr(host.systemd, "daemon_reload", lambda: None)
    done = deploy(host.service(), host.build("other"), again=False)
    assert f"systemd still has another generation's {NAMES.server}" in done["reason"]
    monkeypatch.undo()


def test_another_release_is_known_without_a_look_at_processes(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """nous-follow.service has no right to that, and asks what would be done."""

    def denied(unit: str) -> Path:
        raise PermissionError(unit)

    monkeypatch.setattr(running, "started_with", denied)
    assert check(host.service(), host.build("other"), again=False)["actions"] == ["switch", "start"]


def test_what_was_interrupted_is_no_generation(host: Host) -> None:
    (host.folder / "generations/.7.partial").mkdir()
    (host.folder / "generations/5").mkdir()
    (host.folder / "generations/5/generation.json").write_text("")
    with pytest.raises(NousVmError, match="generations/5 is not complete"):
        host.service().generations.numbered(5)
    deploy(host.service(), host.build("other"), again=False)
    assert numbers(host) == ["1", "6"]


def test_as_many_are_kept_as_is_asked_for(host: Host) -> None:
    for text in "abcd":
        host.files[1].write_text(text)
        assert deploy(host.service(), "good", again=False)["reason"] is None
    assert numbers(host) == ["4", "5"]
    host.files[1].write_text("never")
    deploy(host.service(), "good", again=False)
    assert (host.folder / "current").readlink().name == "5"
    accepted = [json.loads((host.folder / "generations" / name / "generation.json").read_bytes())["accepted"] for name in ("4", "5")]
    assert accepted == [4, 5]
