# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state machine: a candidate is kept or rolled back, and whatever interrupts it, recover ends it."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import pause
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import backups, traffic
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.deployment import Deployment
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.operations import deploy, restart, restore, roll_back
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError, UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fakes import NAMES, Host


def assert_sound(host: Host, current: str) -> None:
    """The release is current, nothing is left half-done, and traffic flows."""
    assert host.current() == current
    assert host.journal() is None
    assert pause.reasons() == []
    assert not host.proxy.paused
    assert host.systemd.active[NAMES.server]


def test_the_first_release(bare: Host) -> None:
    bare.proxy.stop()
    bare.systemd.active[NAMES.proxy] = False
    done = deploy(bare.service(), bare.build("good"), again=False)
    assert (done["reason"], done["previous"], done["actions"]) == (None, None, ["enable", "switch", "start"])
    assert_sound(bare, "good")
    assert bare.systemd.wanted(NAMES.server)
    assert bare.service().releases.known_good() == ["good"]


def test_a_candidate_that_answers_is_kept(host: Host) -> None:
    done = deploy(host.service(), host.build("other"), again=False)
    assert (done["changed"], done["reason"], done["previous"]) == (True, None, "good")
    assert_sound(host, "other")
    assert host.service().releases.known_good() == ["good", "other"]
    assert host.notes() == ["first"]
    assert [about["why"] for about in host.service().backups.complete().values()] == ["before other"]


def test_nobody_reaches_a_candidate(host: Host) -> None:
    """From before the server stops until it is decided, the proxy is paused; what waits for the old server is cut."""
    host.proxy.in_flight, host.proxy.log = 1, []
    deploy(host.service(), host.build("other"), again=False)
    log = [line for line in host.proxy.log if not line.startswith("show")]
    assert log[0] == "disable frontend nous"
    assert log[-1] == "enable frontend nous"
    assert log.count("enable frontend nous") == 1
    assert "shutdown sessions server requests/nous" in log


@pytest.mark.parametrize(
    ("release", "why"),
    [
        ("crash", "nous.service crashes"),
        ("dead", "nous.service is inactive"),
        ("error", "answers 500 to an MCP initialize after 1 s"),
        ("odd", "answers 200 to /.well-known/oauth-protected-resource after 1 s"),
    ],
)
def test_a_candidate_that_fails_is_rolled_back(host: Host, release: str, why: str) -> None:
    done = deploy(host.service(), host.build(release), again=False)
    assert why in done["reason"]
    assert done["rollback"] == "good answers again"
    assert done["journal"] == ["a line of the journal"]
    assert_sound(host, "good")
    assert list(host.service().releases.failed()) == [release]


def test_what_a_candidate_wrote_is_gone(host: Host) -> None:
    done = deploy(host.service(), host.build("writes"), again=False)
    assert done["reason"] is None
    assert host.notes() == ["first", "written by a candidate"]
    roll_back(host.service(), None)
    assert host.notes() == ["first", "written by a candidate"]
    deploy(host.service(migrate=["fails"]), host.build("writes-more"), again=False)
    host.systemd.migration = Completed(3, b"half-way\n", b"")
    done = deploy(host.service(migrate=["fails"]), host.build("other"), again=False)
    assert done["reason"] == "its migration (fails) failed: half-way"
    assert_sound(host, "writes-more")


def test_a_migration_runs_as_the_server_in_its_slice_and_sandboxed(host: Host) -> None:
    program = host.root / "releases" / host.build("other", programs=["venv/bin/migrate"]) / "venv/bin/migrate"
    assert deploy(host.service(migrate=["venv/bin/migrate", "up"]), "other", again=False)["reason"] is None
    (call,) = [call for call in host.systemd.calls if f"--unit={NAMES.migrate}" in call]
    assert call[-2:] == [str(program), "up"]
    assert {"--property=Slice=nous.slice", "--property=User=root", "--property=EnvironmentFile=/etc/nous/nous.env", "--property=PrivateNetwork=yes"} <= {*call}


def test_a_migration_that_prints_nothing_and_takes_too_long(host: Host) -> None:
    host.systemd.migration = Completed(1, b"", b"")
    done = deploy(host.service(migrate=["x"], timeout=0.0), host.build("other"), again=False)
    assert done["reason"] == "its migration (x) failed: it took longer than 0 s"
    done = deploy(host.service(migrate=["x"]), "other", again=True)
    assert done["reason"] == "its migration (x) failed: it printed nothing"


def test_bad_settings_are_rolled_back(host: Host) -> None:
    """They are tried with the release that is current; the generation before returns, and they are not tried again."""
    host.files[1].write_text("never\n")
    done = deploy(host.service(), "good", again=False)
    assert (done["reason"], done["rollback"], done["actions"]) == ("nous.service crashes", "good answers again", ["switch", "start"])
    assert_sound(host, "good")
    done = deploy(host.service(), "good", again=False)
    assert "it failed: with these settings, nous.service crashes; it is not deployed again until that is asked for (--again)" in done["reason"]
    assert done["rollback"] == "good is left as it is"
    host.systemd.order("stop", NAMES.server)
    assert deploy(host.service(), "good", again=False)["rollback"] == "good answers again"
    assert restart(host.service())["reason"] is None, "it is the current generation that is restarted"
    assert "with these settings" in deploy(host.service(), "good", again=False)["reason"], "that it answers with others does not help these"
    host.files[1].write_text("good\n")
    assert deploy(host.service(), "good", again=False)["changed"] is False


def test_good_settings_are_kept(host: Host) -> None:
    host.files[1].write_text("better\n")
    assert deploy(host.service(), "good", again=False)["actions"] == ["switch", "start"]
    assert deploy(host.service(), "good", again=False)["actions"] == []
    assert (host.folder / "current/nous.env").read_text() == "better\n"


def test_the_proxy_is_rolled_back_too(host: Host) -> None:
    """With the address that the server is asked at, and its socket."""
    host.files[3].write_text("another address\n")
    host.files[2].write_text(host.files[2].read_text() + "another socket\n")
    done = deploy(host.service(address="127.0.0.1:1"), host.build("other"), again=False)
    assert "does not answer" in done["reason"]
    assert done["rollback"] == "good answers again"
    assert host.systemd.calls.count(["systemctl", "restart", NAMES.proxy_socket]) == 3, "at first, for the candidate, and back"
    assert (host.folder / "current/proxy.d/50-nous.cfg").read_text() == "good\n"
    assert host.service(address="127.0.0.1:1").server.address == host.about["address"]
    assert_sound(host, "good")


def test_what_is_written_meanwhile_is_not_deployed(host: Host) -> None:
    """As by another run: the candidate has what was there before, and the next deployment finds what came."""
    host.at_start = lambda: host.files[1].write_text("never\n")
    assert deploy(host.service(), host.build("other"), again=False)["reason"] is None
    assert_sound(host, "other")
    host.at_start = lambda: None
    assert deploy(host.service(), "other", again=False)["reason"] == "nous.service crashes"
    assert_sound(host, "other")


def test_no_room_for_a_backup(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backups, "SPARE", 1 << 60)
    calls = len(host.systemd.calls)
    done = deploy(host.service(), host.build("other"), again=False)
    assert "MiB free, and a copy of" in done["reason"]
    assert (done["changed"], done["rollback"]) == (False, "the server that runs was not touched")
    assert [call for call in host.systemd.calls[calls:] if "stop" in call] == []


def test_a_database_that_is_damaged(host: Host) -> None:
    host.database.write_bytes(b"SQLite format 3\0" + bytes(5000))
    done = deploy(host.service(), host.build("other"), again=False)
    assert f"{host.database} cannot be copied" in done["reason"]
    assert done["rollback"] == "good answers again"
    assert host.service().backups.complete() == {}
    assert os.listdir(host.root / "backups") == []


def test_a_server_that_does_not_stop(host: Host) -> None:
    host.systemd.stops = False
    done = deploy(host.service(), host.build("other"), again=False)
    assert done["reason"] == "nous.service does not stop"
    assert done["rollback"] == "good answers again"
    assert_sound(host, "good")


def test_a_rollback_that_fails_too(host: Host) -> None:
    host.at_start = lambda: setattr(host.systemd, "pid", 0)
    done = deploy(host.service(), host.build("error"), again=False)
    assert done["rollback"] == "good does not answer either: nous.service does not run after 1 s"


def test_a_rollback_that_cannot_be_done_is_left_to_recover(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    put_back = backups.Backups.put_back

    def lost(_self: backups.Backups, _name: str) -> None:
        raise NousVmError("no")

    monkeypatch.setattr(backups.Backups, "put_back", lost)
    done = deploy(host.service(), host.build("error"), again=False)
    assert done["reason"].endswith("; the rollback failed, and recover will try it again: no")
    plan = host.journal()
    assert plan and plan["step"] == "candidate"
    monkeypatch.setattr(backups.Backups, "put_back", put_back)
    assert Deployment(host.service()).recover()["rollback"] == "good answers again"
    assert_sound(host, "good")
    assert list(host.service().releases.failed()) == ["error"], "why it failed was written down"


class Killed(BaseException):
    """Nothing of the program goes on."""


STEPS = ["pause", "stop", "candidate", "known-good"]


def interrupt(host: Host, monkeypatch: pytest.MonkeyPatch, at: str, release: str, **request: Any) -> None:
    """Let a deployment end as if it were killed, when it has written down a step."""
    note = Deployment.note

    def killed(self: Deployment, **fields: Any) -> None:
        note(self, **fields)
        if fields.get("step") == at:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Deployment, "note", killed)
        # A kill runs no finally either.
        with pytest.raises(Killed):
            deploy(host.service(**request), release, again=False)


@pytest.mark.parametrize("at_start", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_recover_ends_what_was_interrupted(host: Host, monkeypatch: pytest.MonkeyPatch, step: str, at_start: bool) -> None:
    interrupt(host, monkeypatch, step, host.build("other"))
    if at_start:  # a boot: nothing runs, and /run is empty
        host.systemd.active[NAMES.server], host.systemd.pid = False, 0
        pause.clear(traffic.DEPLOYMENT)
    done = Deployment(host.service()).recover(at_start)
    assert done["changed"]
    expected = "other" if step == "known-good" else "good"
    if at_start and step == "pause":
        host.systemd.order("start", NAMES.server)
    assert_sound(host, expected)
    assert done["reason"] == (None if step == "known-good" else f"it was interrupted at the step {step}")
    assert host.notes() == ["first"]
    assert host.service().releases.failed() == {}, "that it was interrupted is no fault of the release"
    assert Deployment(host.service()).recover(at_start) == {"changed": False}


def killed(*_arguments: object) -> None:
    raise Killed


def test_recover_is_itself_interrupted(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(host, monkeypatch, "candidate", host.build("writes"))
    host.note("written by a candidate")
    with monkeypatch.context() as patch:
        patch.setattr(Deployment, "switch", killed)
        with pytest.raises(Killed):
            Deployment(host.service()).recover()
    assert Deployment(host.service()).recover()["rollback"] == "good answers again"
    assert host.notes() == ["first"]
    assert_sound(host, "good")


def test_a_journal_that_cannot_be_read_is_for_a_person(host: Host) -> None:
    (host.root / "deployment.json").write_text("")
    with pytest.raises(OSError, match="cannot be read: see what"):
        Deployment(host.service()).recover()
    done = Deployment(host.service()).recover(at_start=True)  # a server that runs is left alone
    assert "could not be completed" in done["reason"]
    host.systemd.order("stop", NAMES.server)
    with pytest.raises(OSError, match="cannot be read"):
        Deployment(host.service()).recover(at_start=True)


def test_a_boot_that_cannot_roll_back_does_not_start_the_candidate(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(host, monkeypatch, "candidate", host.build("other"))
    name = (host.journal() or {})["backup"]
    (host.root / "backups" / name).rename(host.root / "backups/.lost")
    host.systemd.order("stop", NAMES.server)
    with pytest.raises(OSError, match="No such file"):
        Deployment(host.service()).recover(at_start=True)
    assert host.journal() is not None
    assert not host.systemd.active[NAMES.server]


def test_nothing_is_marked_while_the_host_goes_down(host: Host) -> None:
    host.at_start = lambda: setattr(host.systemd, "system", "stopping")
    deploy(host.service(), host.build("crash"), again=False)
    assert host.service().releases.failed() == {}


def test_a_proxy_that_comes_back_is_paused_again(host: Host) -> None:
    """It knows nothing of the pause, and may have let somebody in."""
    deployment = Deployment(host.service())
    deployment.hold()
    assert host.proxy.paused
    host.proxy.stop()
    deployment.hold()
    host.proxy.start()
    host.proxy.in_flight = 1
    deployment.hold()
    assert (host.proxy.paused, host.proxy.in_flight) == (True, 0)
    deployment.resume()
    assert not host.proxy.paused


def test_a_proxy_that_does_not_come(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.deployment.PATIENCE", 0.1)
    host.files[3].write_text("other\n")
    host.proxy.broken = True
    host.systemd.active[NAMES.proxy] = False
    done = deploy(host.service(), "good", again=False)
    assert "nous-proxy.service does not work" in done["reason"]


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
