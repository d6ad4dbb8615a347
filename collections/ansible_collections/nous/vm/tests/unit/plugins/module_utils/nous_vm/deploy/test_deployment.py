# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state machine: a candidate is kept or rolled back, and whatever interrupts it, recover ends it."""

from __future__ import annotations

import os

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import pause
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import backups
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.deployment import Deployment
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.operations import deploy, restart, roll_back
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError
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
