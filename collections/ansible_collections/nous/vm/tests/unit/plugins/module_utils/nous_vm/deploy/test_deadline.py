# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing that a release or its database does holds a deployment: it ends in time, is rolled back, and another can take its place."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import time
from collections.abc import Callable

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import backups, copies
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import deadline as module
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.deadline import Deadline, Ended
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.operations import deploy
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fakes import NAMES, Host
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.test_deployment import assert_sound

LONG = 60  # seconds; a test that waits for so long has failed
# In no page of it is a fault. To look at a row takes a gigabyte, or there are many that take long.
CHECKED = "CREATE TABLE t (x, CHECK (length(hex(zeroblob({size} + x))) > 0)); PRAGMA ignore_check_constraints = 1; INSERT INTO t "
MEMORY = CHECKED.format(size=400000000) + "VALUES (1)"
TIME = CHECKED.format(size=40000000) + "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 900) SELECT x FROM n"


def test_a_release_that_answers_a_byte_at_a_time(host: Host) -> None:
    began = time.monotonic()
    done = deploy(host.service(), host.build("trickle"), again=False)
    assert time.monotonic() - began < 10
    assert "does not answer" in done["reason"]
    assert_sound(host, "good")
    assert list(host.service().releases.failed()) == ["trickle"]


def of_candidate(host: Host, what: Callable[[], object]) -> Callable[[], None]:
    """Return what happens at a start of a host's server if only its candidate does something then."""

    def at_start() -> None:
        if host.current() != "good":
            what()

    return at_start


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_whatever_hangs_is_ended_rolled_back_and_marked(host: Host) -> None:
    host.at_start = of_candidate(host, lambda: time.sleep(LONG))
    began = time.monotonic()
    done = deploy(host.service(deadline=0.4), host.build("other"), again=False)
    assert time.monotonic() - began < LONG / 2
    assert (done["reason"], done["rollback"]) == ("it did not end within 0.5 s, at the step candidate", "good answers again")
    assert_sound(host, "good")
    assert "it did not end within" in host.service().releases.failed()["other"]["reason"]


def test_what_is_stopped_is_rolled_back_and_marked(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stops it again while it is rolled back, or once it was deployed, changes nothing."""

    def stopped() -> None:
        stop()
        time.sleep(LONG)

    def again(function: str) -> None:
        original = getattr(backups.Backups, function)

        def stopped_too(self: backups.Backups, *arguments: str) -> None:
            stop()
            original(self, *arguments)

        monkeypatch.setattr(backups.Backups, function, stopped_too)

    before = signal.getsignal(signal.SIGTERM)
    host.at_start = of_candidate(host, stopped)
    again("put_back")
    done = deploy(host.service(), host.build("other"), again=False)
    assert (done["reason"], done["rollback"]) == ("it was stopped, at the step candidate", "good answers again")
    assert_sound(host, "good")
    assert host.service().releases.failed()["other"]["reason"] == done["reason"]
    assert signal.getsignal(signal.SIGTERM) == before
    host.at_start = lambda: None
    again("prune")
    assert deploy(host.service(), "other", again=True)["reason"] is None
    assert_sound(host, "other")


def test_it_is_raised_again_if_it_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python drops what is raised while an object is destroyed."""
    monkeypatch.setattr(module, "AGAIN", 0.05)
    with pytest.raises(Ended, match=r"did not end within 0\.05 s"), Deadline(0.05):
        with contextlib.suppress(Ended):
            time.sleep(LONG)
        time.sleep(LONG)
    with Deadline(0.05) as deadline:
        deadline.lift()
        time.sleep(0.1)
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_a_database_that_is_locked(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy gives up, or is ended with the deployment; nothing of it is left, and the candidate is not marked for it."""
    with contextlib.closing(sqlite3.connect(host.database, isolation_level=None)) as locked:
        locked.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(copies, "BUSY", 0.1)
        done = deploy(host.service(), host.build("other"), again=False)
        assert done["reason"] == f"{host.database} cannot be copied: {host.database} was locked for 0.1 s"
        assert done["rollback"] == "good answers again"
        host.systemd.real_copies = True  # which waits longer
        host.systemd.calls.clear()
        done = deploy(host.service(deadline=0.5), "other", again=False)
        assert (done["reason"], done["rollback"]) == ("it did not end within 0.6 s, at the step stop", "good answers again")
        assert host.systemd.calls.count(["systemctl", "stop", NAMES.copy]) == 2, "before the copy, and after it was given up"
        assert os.listdir(host.root / "backups") == []
        assert host.service().releases.failed() == {}
        assert_sound(host, "good")


@pytest.mark.parametrize(("schema", "why"), [(MEMORY, "MemoryError"), (TIME, "it took longer than 2 s")])
def test_a_database_made_to_be_looked_at_for_ever(host: Host, monkeypatch: pytest.MonkeyPatch, schema: str, why: str) -> None:
    """It prevents a copy, but not that another release takes over, if a person says so."""
    host.database.unlink()
    with contextlib.closing(sqlite3.connect(host.database)) as made:
        made.executescript(f"CREATE TABLE notes (text); {schema}")
    host.systemd.real_copies = True
    monkeypatch.setattr(backups, "LEAST", 2.0)
    began = time.monotonic()
    done = deploy(host.service(), host.build("other"), again=False)
    assert time.monotonic() - began < LONG / 2
    assert done["reason"].startswith(f"{host.database} cannot be copied: {why}"), done
    assert_sound(host, "good")
    assert deploy(host.service(), "other", again=False, backup=False)["reason"] is None
    assert_sound(host, "other")
    assert host.service().backups.complete() == {}


def test_without_a_backup_a_rollback_says_what_it_could_not_do(host: Host) -> None:
    done = deploy(host.service(), host.build("crash"), again=False, backup=False)
    assert done["rollback"] == "good answers again, with the data as the candidate left them: no backup was made"


@pytest.mark.parametrize("left", ["folders", "closed", "link"])
def test_what_a_candidate_leaves_does_not_prevent_the_rollback(host: Host, left: str) -> None:
    outside = host.folder / "outside"
    outside.write_text("kept")

    def leave() -> None:
        host.database.unlink()
        if left == "folders":
            for path in (host.database, host.database.with_name("state.db-wal"), host.database.with_name(".state.db.new")):
                (path / "deep").mkdir(parents=True)
        elif left == "closed":
            host.database.parent.chmod(0)
        else:
            for path in (host.database, host.database.with_name("state.db-wal"), host.database.with_name(".state.db.new")):
                path.symlink_to(outside)
        host.systemd.crashes = 1

    host.at_start = of_candidate(host, leave)
    done = deploy(host.service(), host.build("other"), again=False)
    assert (done["reason"], done["rollback"]) == ("nous.service crashes", "good answers again")
    assert host.notes() == ["first"]
    assert outside.read_text() == "kept"
    assert_sound(host, "good")
