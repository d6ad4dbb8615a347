# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rollbacks, restores, restarts, and what is kept for them."""

from __future__ import annotations

import os
import shutil

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import backups
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.operations import deploy, restart, restore, roll_back
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import UsageError
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fakes import NAMES, Host
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.test_deployment import assert_sound


def test_too_many_releases_and_backups_go(host: Host) -> None:
    os.utime(host.root / "releases/good/release.json", (1, 1))
    for name in ("other-1", "other-2", "other-3"):
        os.utime(host.root / "releases" / host.build(name) / "release.json", (1, 1))
        assert deploy(host.service(), name, again=False)["reason"] is None
    assert host.service().releases.built() == ["other-2", "other-3"]
    assert len(host.service().backups.complete()) <= 2


def test_what_cannot_be_removed_is_no_failure(host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(_self: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(backups.Backups, "prune", full)
    assert deploy(host.service(), host.build("other"), again=False)["reason"] is None
    assert "what is too old stays for now: no" in capsys.readouterr().err


def test_rollback(host: Host) -> None:
    with pytest.raises(UsageError, match="no release before the current one"):
        roll_back(host.service(), None)
    deploy(host.service(), host.build("other"), again=False)
    done = roll_back(host.service(), None)
    assert (done["release"], done["reason"]) == ("good", None)
    assert_sound(host, "good")
    assert "it was rolled back" in deploy(host.service(), "other", again=False)["reason"]
    with pytest.raises(UsageError, match="third is not built; built: good, other"):
        roll_back(host.service(), "third")
    assert roll_back(host.service(), "other")["release"] == "other"
    assert "other" not in host.service().releases.failed()


def test_a_release_without_its_launcher(host: Host) -> None:
    """Rolled back to, it has the command of then; one that never had one is not begun with, and nobody waits."""
    plain = host.files[0].read_text(encoding="utf-8")
    host.build("new", programs=["venv/bin/launch"])
    host.files[0].write_text(f"{plain}ExecStart={host.root}/current/venv/bin/launch -m nous\n", encoding="utf-8")
    assert deploy(host.service(), "new", again=False)["reason"] is None
    host.build("old")
    host.proxy.log.clear()
    done = roll_back(host.service(), "old")
    assert done["reason"] == "old has no venv/bin/launch, and is to be started with it (nous_service_launcher): its build did not bring it"
    assert (done["changed"], host.current(), "disable frontend nous" in host.proxy.log) == (False, "new", False)
    assert host.service().releases.failed() == {}
    assert roll_back(host.service(), None)["reason"] is None
    assert "launch" not in (host.folder / "current/nous.service").read_text(encoding="utf-8")
    assert_sound(host, "good")


def test_the_parts_of_a_deployment_are_measured(host: Host) -> None:
    """And nothing happens while traffic is paused but drain, copy and start."""
    done = deploy(host.service(), host.build("other"), again=False)
    paused = done["parts"].pop("paused")
    assert done["parts"].keys() == {"rehearsal", "drain and stop", "copy", "migration", "start and checks"}
    within = sum(seconds for part, seconds in done["parts"].items() if part != "rehearsal")
    assert 0 <= paused - within < 1
    assert "rehearsal" in roll_back(host.service(), None)["parts"]


def test_rollback_to_what_cannot_run(host: Host) -> None:
    host.build("old", "3.12.1")
    with pytest.raises(UsageError, match=r"old cannot run: it was built for Python 3\.12\.1, and its interpreter is Python 3\.13 now; releases .*: none"):
        roll_back(host.service(), "old")
    (host.root / "releases/old/venv/bin/python").unlink()
    with pytest.raises(UsageError, match="does not run any more"):
        roll_back(host.service(), "old")


def test_restore(host: Host) -> None:
    deploy(host.service(), host.build("other"), again=False)
    host.note("later")
    (name,) = host.service().backups.complete()
    done = restore(host.service(), name)
    assert (done["release"], done["reason"], done["actions"]) == ("good", None, ["restore", "start"])
    assert host.notes() == ["first"]
    assert f"{name} was restored instead" in host.service().releases.failed()["other"]["reason"]
    with pytest.raises(UsageError, match=f"there is no backup yesterday; there are: {name}"):
        restore(host.service(), "yesterday")


def test_restore_of_a_release_that_is_gone(host: Host) -> None:
    deploy(host.service(), host.build("other"), again=False)
    (name,) = host.service().backups.complete()
    (host.root / "releases/good/release.json").unlink()
    assert restore(host.service(), name)["release"] == "other"


def test_restart(host: Host) -> None:
    assert restart(host.service())["changed"] is True
    host.systemd.order("stop", NAMES.server)
    assert restart(host.service())["changed"] is False


def test_a_note_that_a_release_failed_outlives_it(host: Host) -> None:
    """And what lies there that is no release is left alone."""
    folder = host.root / "releases/failed"
    folder.mkdir()
    (folder / "failed.json").write_text("{}")
    (folder / "file").touch()
    (host.root / "releases/stray").touch()
    assert deploy(host.service(), host.build("other"), again=False)["reason"] is None
    assert [path.name for path in folder.iterdir()] == ["failed.json"]
    assert (host.root / "releases/stray").exists()


def test_a_backup_that_was_asked_for_outlives_those_made_by_the_way(host: Host) -> None:
    name = host.service().backups.create("good", "requested")
    host.build("other")
    for _time in range(2):
        deploy(host.service(), "other", again=True)
        roll_back(host.service(), None)
    assert name in host.service().backups.complete()
    assert len(host.service().backups.complete()) == 3


@pytest.mark.parametrize("broken", ["no room", "read-only"])
def test_settings_that_were_not_tried_are_not_used(host: Host, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """A deployment that comes to nothing before its candidate leaves the current generation, for the next start too."""
    if broken == "no room":
        monkeypatch.setattr(backups, "SPARE", 1 << 60)
    else:
        (host.root / "backups").rmdir()
        (host.root / "backups").symlink_to("/proc/self")
    host.files[1].write_text("never\n")
    assert deploy(host.service(), host.build("other"), again=False)["reason"]
    host.systemd.order("stop", NAMES.server)
    host.systemd.daemon_reload()
    host.systemd.order("start", NAMES.server)
    assert_sound(host, "good")
    assert host.systemd.crashes == 0


def test_what_a_copy_left_takes_no_room(host: Host) -> None:
    for left in (host.root / "backups/.left.partial", host.folder / "home/.backup-left"):
        left.mkdir()
    assert host.service().backups.lack_of_space() is None
    assert not list(host.root.glob("backups/.*"))
    assert not list((host.folder / "home").glob(".backup-*"))


def test_a_release_removed_by_hand(host: Host) -> None:
    """It is rolled back to another that was deployed, and a link to nowhere is mended."""
    deploy(host.service(), host.build("other"), again=False)
    shutil.rmtree(host.root / "releases/other")
    assert host.service().releases.current() == "other"
    assert deploy(host.service(), host.build("crash"), again=False)["rollback"] == "good answers again"
    assert_sound(host, "good")
