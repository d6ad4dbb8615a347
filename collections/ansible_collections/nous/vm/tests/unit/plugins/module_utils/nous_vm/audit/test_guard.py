# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard: when traffic is rejected and when it flows again, the room that it keeps, and what it has mended."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import cli, inodes, locks, pause
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit import guard, mend, room, speed, watch
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.answers import Calls
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.commands import audit_watch
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.configuration import load
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.guard import Guard
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.log import Log
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.cgroups import Running
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.audit.place import LINES, Place

RESERVE = 1 << 20


class Watcher:
    """What the watcher tells."""

    def __init__(self, path: Path) -> None:
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.guard: socket.socket | None = None
        self.records, self.well = 0, 0.0

    def tell(self, **faults: str) -> None:
        self.guard = self.guard or self.listener.accept()[0]
        self.guard.send(json.dumps({"faults": faults, "records": self.records, "well": self.well}).encode())

    def leave(self) -> None:
        if self.guard:
            self.guard.close()
        self.guard = None


@pytest.fixture
def watcher(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watcher]:
    path = tmp_path_factory.mktemp("watch") / "socket"
    monkeypatch.setattr(guard, "watcher_socket", lambda _name: path)
    watcher = Watcher(path)
    yield watcher
    watcher.leave()
    watcher.listener.close()


@pytest.fixture
def runtime(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("run")
    for module in (pause, guard, mend):
        monkeypatch.setattr(module, "RUNTIME", folder)
    monkeypatch.setattr(pause, "FOLDER", folder / "pause")
    monkeypatch.setattr(pause, "UNAUDITED", folder / "unaudited.json")
    return folder


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []

    def systemctl(*arguments: str) -> str:
        found.append(arguments)
        return ""

    monkeypatch.setattr(guard, "systemctl", systemctl)
    return found


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether traffic was rejected, each time that the proxy was told."""
    found: list[bool] = []
    monkeypatch.setattr(guard, "apply_pause", lambda: found.append(rejected()))
    return found


def rejected() -> bool:
    return any(each.owner == pause.GUARD and each.reject for each in pause.reasons())


@pytest.fixture
def guarding(place: Place, watcher: Watcher, runtime: Path, ran: Any, applied: Any, monkeypatch: pytest.MonkeyPatch) -> Guard:
    place.configure(guard="enforce", reserve=RESERVE)
    place.write(LINES)
    monkeypatch.setattr(guard, "POLL", 0.02)
    guarding = Guard(load(place.config))
    guarding.turn()
    watcher.tell()
    guarding.turn()
    return guarding


@pytest.fixture
def calls(guarding: Guard, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many calls the proxy saw answered, and how many are under way; empty, there is no proxy."""
    found: list[int] = []

    def answered() -> Calls:
        if not found:
            raise OSError
        return Calls(*found)

    guarding.answers.read = answered
    monkeypatch.setattr(guard, "ASK", 0)
    return found


def test_traffic_flows_while_all_is_well(guarding: Guard, applied: list[bool], runtime: Path) -> None:
    assert (rejected(), applied) == (False, [])
    assert json.loads((runtime / "audit-x.json").read_text())["faults"] == {}
    assert room.reserved(guarding.logs[0]) >= RESERVE


def test_what_costs_no_record_is_over_when_it_is(guarding: Guard, watcher: Watcher, applied: list[bool], trail: Path) -> None:
    watcher.tell(owner="the log is another's\x1b")
    guarding.turn()
    [reason] = pause.reasons()
    assert (reason.owner, reason.reject, reason.why) == (pause.GUARD, True, "answers would not be recorded: the log is another's\\x1b")
    watcher.tell()
    guarding.turn()
    assert applied == [True, False]
    assert [json.loads(line)["result"] for line in trail.read_text().splitlines()] == ["failed", "done"]


def test_what_may_have_cost_a_record_is_over_when_it_is_mended(
    guarding: Guard, watcher: Watcher, ran: list[tuple[str, ...]], runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher.tell(**{"read-only": "the file system is read-only"})
    guarding.turn()
    watcher.tell(**{"read-only": "the file system is read-only"})
    guarding.turn()
    assert (rejected(), ran) == (True, []), "nothing can be mended yet"
    watcher.tell()
    with locks.held("deployment", "deploy"):
        guarding.turn()
    assert (rejected(), ran) == (True, []), "the server is being replaced"
    guarding.turn()
    assert ran == [("start", "audit-logrotate-x-mend.service")]
    guarding.turn()
    assert len(ran) == 1, "not again at once"
    (runtime / "audit-x.mended").touch()
    guarding.turn()
    guarding.turn()
    assert not rejected()


def test_a_guard_that_is_started_anew_has_not_forgotten_it(guarding: Guard, watcher: Watcher, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file system is mounted anew: the guard and the watcher are stopped for that, and the next watcher sees nothing wrong."""
    watcher.tell(error="the file system has an error")
    guarding.turn()
    watcher.leave()
    again = Guard(guarding.config)
    again.turn()
    watcher.tell()
    monkeypatch.setattr(guard, "systemctl", lambda *_arguments: None)
    again.turn()
    assert rejected()
    (runtime / "audit-x.mended").touch()
    again.turn()
    assert not rejected()
    assert Guard(guarding.config).lost == 0
    (runtime / "audit-x.json").write_text("{}")
    assert Guard(guarding.config).lost == 0


def test_mending_is_tried_three_times(guarding: Guard, watcher: Watcher, ran: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    watcher.tell(links="a record does not link")
    for _turn in range(6):
        guarding.turn()
        monkeypatch.setattr(guarding, "attempts", [at - guard.BETWEEN for at in guarding.attempts])
        guarding.attempts = guarding.attempts[-3:]
    assert len(ran) >= 3
    guarding.attempts = [guarding.heard] * 3
    before = len(ran)
    guarding.turn()
    assert len(ran) == before
    assert rejected()


def test_a_log_that_mends_is_followed_anew(guarding: Guard, watcher: Watcher, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "systemctl", lambda *_arguments: (runtime / "audit-x.mended").touch())
    watcher.tell(links="a record does not link")
    guarding.turn()
    assert guarding.told == {}
    guarding.turn()
    assert not rejected()


def test_nobody_watches(guarding: Guard, watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher.leave()
    guarding.turn()
    guarding.turn()
    assert not rejected()
    monkeypatch.setattr(guard, "SILENT", -1)
    guarding.turn()
    assert rejected()
    monkeypatch.setattr(guard, "SILENT", 5)
    monkeypatch.setattr(guard, "connected", lambda _path: None)
    guarding.watcher = None
    guarding.turn()
    assert not rejected()


@pytest.mark.parametrize("message", [b"{", b"{}", b'{"faults": ["x"], "well": 1, "records": 1}', b'{"faults": {"x": "y"}, "well": [], "records": 1}'])
def test_a_message_that_is_none(guarding: Guard, watcher: Watcher, message: bytes) -> None:
    assert watcher.guard
    watcher.guard.send(message)
    guarding.turn()
    watcher.tell()
    guarding.turn()
    assert not rejected()


class TestAnswers:
    @pytest.fixture
    def unheld(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inodes, "written", lambda _path: False)

    def test_calls_are_answered_and_the_server_does_not_hold_the_log(
        self, guarding: Guard, watcher: Watcher, calls: list[int], unheld: None, ran: list[tuple[str, ...]], runtime: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls[:] = 5, 0
        guarding.turn()
        watcher.tell()
        guarding.turn()
        calls[:] = 14, 0
        watcher.tell()
        guarding.turn()
        assert (rejected(), json.loads((runtime / "audit-x.json").read_text())["calls"]) == (False, 9), "the server may have declined as many"
        calls[:] = 15, 0
        guarding.turn()
        assert not rejected(), "a record may have come meanwhile"
        watcher.tell()
        guarding.turn()
        assert rejected()
        [reason] = pause.reasons()
        assert "10 calls were answered since the last record, and nobody holds the log open to write another" in reason.why
        monkeypatch.setattr(guard, "systemctl", lambda *_arguments: (runtime / "audit-x.mended").touch())
        guarding.attempts = []
        guarding.turn()
        guarding.turn()
        assert not rejected(), "the server was started anew"

    def test_not_while_records_come_or_the_log_is_held(
        self, guarding: Guard, watcher: Watcher, calls: list[int], unheld: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(3):
            calls[:] = 20 * number, 0
            watcher.records = number
            guarding.turn()
            watcher.tell()
            guarding.turn()
        assert not rejected()
        monkeypatch.setattr(inodes, "written", lambda _path: True)
        calls[:] = 100, 0
        watcher.tell()
        guarding.turn()
        assert not rejected()

    def test_what_left_before_the_rejection_is_counted_when_nothing_is_under_way(
        self, guarding: Guard, watcher: Watcher, calls: list[int], trail: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls[:] = 100, 2
        watcher.records, watcher.well = 90, guarding.heard
        guarding.turn()
        watcher.tell()
        guarding.turn()
        monkeypatch.setattr(guard, "ASK", 1e9)  # what was asked before does not count
        calls[:] = 108, 1
        watcher.records = 95
        watcher.tell(**{"read-only": "the file system is read-only"})
        guarding.turn()
        assert rejected()
        assert "answers without a record" not in trail.read_text(), "one is under way"
        calls[:] = 109, 0
        guarding.turn()
        guarding.turn()
        [told] = [entry for entry in map(json.loads, trail.read_text().splitlines()) if entry["event"] == "answers without a record"]
        assert (told["result"], told["milliseconds"] >= 0) == ("at most 4", True)

    def test_without_a_proxy_nothing_is_counted(self, guarding: Guard, watcher: Watcher, calls: list[int], trail: Path, runtime: Path) -> None:
        watcher.tell(error="the file system has an error")
        guarding.turn()
        assert [entry["result"] for entry in map(json.loads, trail.read_text().splitlines())] == ["failed", "not counted"]
        assert json.loads((runtime / "audit-x.json").read_text())["calls"] is None

    def test_what_does_not_end_is_not_waited_for(
        self, guarding: Guard, watcher: Watcher, calls: list[int], trail: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls[:] = 100, 2
        guarding.turn()
        watcher.tell()
        guarding.turn()
        watcher.tell(error="the file system has an error")
        monkeypatch.setattr(guard, "DRAINED", -1)
        guarding.turn()
        assert "at most 0" in trail.read_text()


def test_a_rotation_is_no_attack(guarding: Guard, watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    with locks.held("rotation-x", "rotate"):
        watcher.tell(flag="it is not append-only")
        guarding.turn()
        assert not rejected()
    monkeypatch.setattr(guard, "PASSING", 0)
    guarding.turn()
    assert rejected(), "no rotation is at work, and it is so for long"
    watcher.tell()
    guarding.turn()
    assert not rejected()


def test_a_cut_that_the_watcher_was_too_slow_for_is_accepted_if_it_links(
    guarding: Guard, watcher: Watcher, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "PASSING", 0)
    links = [True]
    monkeypatch.setattr(guard, "archives", lambda _log: [place.archive])
    monkeypatch.setattr(guard, "links_to_archive", lambda _log: links[0])
    watcher.tell(cut="it was cut")
    guarding.turn()
    assert not rejected()
    assert watcher.guard
    heard = [watcher.guard.recv(100)]
    while heard[-1] != watch.ACCEPT:
        heard.append(watcher.guard.recv(100))
    assert set(heard) <= {watch.ACCEPT, watch.REPORT}
    links[0] = False
    watcher.tell(cut="it was cut")
    guarding.turn()
    assert rejected()


def test_a_log_links_to_its_newest_archive(place: Place) -> None:
    lines = b"".join(json.dumps({"entry_hash": str(number), "prev_hash": str(number - 1)}).encode() + b"\n" for number in range(5))
    place.write(lines)
    log = Log(load(place.config), "log")
    assert not guard.links_to_archive(log), "there is none"
    assert place.run("rotate") == 0
    assert guard.links_to_archive(log)
    place.unprotect()
    place.log.write_bytes(lines[:1000])
    assert not guard.links_to_archive(log)


def test_with_warn_traffic_flows(place: Place, guarding: Guard, watcher: Watcher, ran: list[tuple[str, ...]], applied: list[bool]) -> None:
    place.configure(guard="warn")
    guarding.config = load(place.config)
    watcher.tell(links="a record does not link")
    guarding.turn()
    assert (rejected(), applied, ran) == (False, [], [])


def test_an_operator_may_break_the_glass(guarding: Guard, watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher.tell(owner="another's")
    guarding.turn()
    assert rejected()
    pause.allow_unaudited("an answer is worth more (alice)", 60)
    guarding.turn()
    assert not rejected()
    pause.allow_unaudited("an answer is worth more (alice)", -1)
    guarding.turn()
    assert rejected()


class TestRoom:
    def full(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def reserve(_descriptor: int, _start: int, _size: int) -> None:
            raise OSError(28, "space cannot be reserved: No space left on device")

        monkeypatch.setattr(room, "reserve", reserve)

    def test_half_of_it_is_for_what_is_under_way(self, place: Place, guarding: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full(monkeypatch)
        place.append(b"x" * (RESERVE // 3))
        guarding.turn()
        assert not rejected(), "there is more than half"
        place.append(b"x" * (RESERVE // 3))
        guarding.turn()
        assert rejected()
        [reason] = pause.reasons()
        assert reason.why.endswith("that are to be reserved: space cannot be reserved: No space left on device")
        monkeypatch.undo()

    def test_space_that_comes_back_is_reserved_at_once(self, place: Place, guarding: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patched:
            self.full(patched)
            place.append(b"x" * RESERVE)
            guarding.turn()
            assert rejected()
        guarding.turn()
        assert not rejected()

    def test_not_while_a_rotation_is_at_work(self, place: Place, guarding: Guard) -> None:
        place.append(b"x" * RESERVE)
        with locks.held("rotation-x", "rotate"):
            guarding.turn()
            assert room.reserved(guarding.logs[0]) < RESERVE * room.RENEW
        assert not rejected()
        guarding.turn()
        assert room.reserved(guarding.logs[0]) >= RESERVE * room.RENEW

    def test_a_disk_that_is_full_while_a_rotation_is_at_work(self, place: Place, guarding: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
        place.append(b"x" * RESERVE)
        monkeypatch.setattr("os.statvfs", lambda _path: SimpleNamespace(f_bavail=1, f_frsize=4096))
        with locks.held("rotation-x", "rotate"):
            guarding.turn()
        assert rejected()

    def test_a_cut_keeps_it(self, place: Place, guarding: Guard, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        assert place.run("rotate") == 0
        assert room.reserved(guarding.logs[0]) >= RESERVE * room.RENEW
        place.append(LINES)

        def reserve(_descriptor: int, _start: int, _size: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.cut.reserve", reserve)
        assert place.run("rotate") == 0
        assert "room: [Errno 28] No space left on device" in capsys.readouterr().err


def test_a_log_whose_cut_would_take_too_long_is_rotated_early(guarding: Guard, ran: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "largest", lambda _log: 10)
    guarding.turn()
    guarding.turn()
    assert ran == [("start", "--no-block", "audit-logrotate-x.service")]
    assert speed.largest(guarding.logs[0]) > 10


def test_the_proxy_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.proxy.Proxy.calls", lambda _proxy: (7, 1))
    assert guard.answered() == (7, 1)


def test_the_proxy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr("ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.traffic.apply", told.append)
    guard.apply_pause()
    assert len(told) == 1


class TestMend:
    @pytest.fixture
    def restarted(self, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
        found: list[tuple[str, ...]] = []
        monkeypatch.setattr(mend, "ordered", lambda *arguments: found.append(arguments))
        return found

    def test_what_is_torn_is_cut_and_kept(self, place: Place, restarted: list[tuple[str, ...]], runtime: Path) -> None:
        inode = place.write(LINES + b'{"torn": ')
        assert place.run("mend") == 0
        place.assert_complete(LINES, inode)
        [torn] = place.directory.glob("log.torn-*")
        assert (torn.read_bytes(), bool(inodes.flags(torn) & inodes.IMMUTABLE)) == (b'{"torn": ', True)
        assert restarted == [("stop", "audit-logrotate-x-watch.service"), ("start", "audit-logrotate-x-watch.service")]
        assert guard.mended("x") > 0

    def test_what_writes_is_started_anew(self, place: Place, restarted: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
        inode = place.write(LINES)
        monkeypatch.setattr(mend, "running", lambda _units: {"w.slice": Running("/w.slice", "active")})
        monkeypatch.setattr(mend, "pids", lambda _cgroups: {1, 2, 3})
        monkeypatch.setattr(mend, "cgroup_of", lambda pid: {1: "/w.slice/w.service", 2: "/w.slice/w.service", 3: "/w.slice"}[pid])
        assert place.run("mend") == 0
        assert ("restart", "w.service") in restarted
        place.assert_complete(LINES, inode)

    def test_never_mended(self, runtime: Path) -> None:
        assert guard.mended("y") == 0


@pytest.mark.parametrize("command", ["guard", "watch"])
def test_the_commands_go_on_for_ever(place: Place, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place.write(LINES)
    turns: list[None] = []

    def turn(_self: object) -> None:
        turns.append(None)
        if len(turns) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Guard, "turn", turn)
    monkeypatch.setattr("ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.watch.Reporter.turn", turn)
    options = ["--folder", str(tmp_path), "--mode", "0600", "--owner", "root", "--group", "root"] if command == "watch" else ["--config", str(place.config)]
    with open(place.log, "rb") as log:
        monkeypatch.setattr(audit_watch, "opened", lambda: [(log.fileno(), "log")])
        assert cli.main(["audit", command, *options]) == cli.INTERRUPTED
    assert len(turns) == 3


def test_nothing_to_watch_is_no_watcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    assert cli.main(["audit", "watch", "--folder", str(tmp_path), "--mode", "0600", "--owner", "root", "--group", "root"]) == 2
    assert "systemd passed no log to watch" in capsys.readouterr().err
