# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watching a log: its chain as it comes, over rotations and starts, and what else is wrong with it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import inodes
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit import filesystem, watch
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.chain import entry_hash
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.filesystem import FileSystem
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.links import Links
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.watch import Reporter, Watched
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.audit.place import Place


class Writer:
    """A server that chains its records."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.head = "0" * 64
        place.write(b"")

    def record(self, **changes: Any) -> bytes:
        record = {"tool": "note", "text": "zwölf", "prev_hash": self.head}
        record["entry_hash"] = self.head = entry_hash(record, "entry_hash")
        return json.dumps(record | changes).encode() + b"\n"

    def append(self, **changes: Any) -> None:
        self.place.append(self.record(**changes))


@pytest.fixture
def writer(place: Place) -> Writer:
    writer = Writer(place)
    for _record in range(3):
        writer.append()
    return writer


@pytest.fixture
def descriptor(place: Place, writer: Writer) -> Iterator[int]:
    opened = os.open(place.log, os.O_RDONLY)
    yield opened
    os.close(opened)


@pytest.fixture
def log(descriptor: int, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    return Watched(descriptor, "log", (0o600, 0, 0), tmp_path_factory.mktemp("memory") / "log.json")


def test_records_are_followed_as_they_come(writer: Writer, log: Watched) -> None:
    assert log.look() == {}
    for _record in range(3):
        writer.append()
        assert log.look() == {}
    assert log.chain.head == writer.head


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (lambda writer: (writer.record(), writer.record())[1], "a record does not link to the one before: one was lost or changed"),
        (lambda writer: writer.record(text="other"), "a record has no hash, or another than it says"),
        (lambda _writer: b'{"tool": "note"}\n', "a record has no hash, or another than it says"),
        (lambda writer: b'{"tool": "no' + writer.record(), "a record is no JSON: "),
        (lambda _writer: b"[1]\n", "a record is no JSON object"),
    ],
    ids=["lost", "changed", "without a hash", "torn before", "no object"],
)
def test_a_record_that_does_not_link_is_a_fault_for_good(place: Place, writer: Writer, log: Watched, lines: Any, fault: str) -> None:
    place.append(lines(writer))
    assert log.look()["links"].startswith(f"log: {fault}")
    writer.append()
    assert set(log.look()) == {"links"}
    log.keep()
    assert not log.memory.exists()


def test_a_record_is_taken_when_it_is_complete(place: Place, writer: Writer, log: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    line = writer.record()
    place.append(line[:20])
    assert log.look() == {}
    place.append(line[20:])
    assert log.look() == {}
    place.append(b'{"tool": ')
    assert log.look() == {}
    monkeypatch.setattr(watch, "TORN", 0)
    assert log.look() == {"torn": "log ends with an incomplete record of 9 bytes"}


def test_a_rotation_leaves_the_last_record(place: Place, writer: Writer, log: Watched) -> None:
    assert place.run("rotate") == 0
    assert log.look() == {}
    writer.append()
    assert log.look() == {}
    assert log.chain.head == writer.head


def test_a_rotation_that_was_faster_is_for_the_guard_to_accept(place: Place, writer: Writer, log: Watched) -> None:
    writer.append()  # not seen in time
    assert place.run("rotate") == 0
    assert "cut" in log.look()
    log.accept()
    assert log.look() == {}
    writer.append()
    assert log.look() == {}
    log.accept()  # nothing is to be accepted
    assert log.chain.head == writer.head


def test_a_watcher_that_is_started_anew_goes_on_where_it_was(writer: Writer, log: Watched, descriptor: int) -> None:
    log.keep()
    writer.append()
    writer.record()  # lost, while nobody watched
    writer.append()
    again = Watched(descriptor, "log", (0o600, 0, 0), log.memory)
    assert set(again.look()) == {"links"}
    log.memory.unlink()
    fresh = Watched(descriptor, "log", (0o600, 0, 0), log.memory)
    assert fresh.look() == {}, "it begins at the last record"


def test_what_else_is_wrong(place: Place, log: Watched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    inodes.change(place.log, off=inodes.APPEND_ONLY)
    place.log.chmod(0o644)
    os.link(place.log, tmp_path / "second")
    monkeypatch.setattr(os, "fstatvfs", lambda _descriptor: os.statvfs_result((0,) * 8 + (os.ST_RDONLY, 255, 1)))
    monkeypatch.setattr(FileSystem, "_errors", lambda _system: 1)
    assert log.look() == {
        "flag": "log is not append-only",
        "owner": "log is 0644 0:0 instead of 0600 0:0",
        "file": "log has 2 names instead of one",
        "read-only": "the file system of log is read-only",
        "error": "the file system of log has an error",
    }

    def unreadable(_log: Watched, _size: int) -> dict[str, str]:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Watched, "_records", unreadable)
    assert log.look() == {"error": "log cannot be read: Input/output error"}


def test_errors_that_ext4_counts(descriptor: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = os.fstat(descriptor).st_dev
    monkeypatch.setattr(filesystem, "DEVICES", tmp_path / "block")
    monkeypatch.setattr(filesystem, "ERRORS", tmp_path / "ext4")
    (tmp_path / "block").mkdir()
    (tmp_path / "block" / f"{os.major(device)}:{os.minor(device)}").symlink_to("../../devices/sdx1")
    assert FileSystem(descriptor).faults("log") == {}, "of another file system"
    (tmp_path / "ext4/sdx1").mkdir(parents=True)
    count = tmp_path / "ext4/sdx1/errors_count"
    count.write_text("3\n")
    system = FileSystem(descriptor)
    assert system.faults("log") == {}, "they were there before it was started"
    count.write_text("14\n")
    assert system.faults("log") == {"error": "the file system of log has an error"}


def test_a_file_system_that_was_shut_down(log: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of xfs, say: nothing can be read any more, and no count tells of it."""

    def pread(*_arguments: int) -> bytes:
        raise OSError(5, "Input/output error")

    log.system.counter = None
    monkeypatch.setattr(os, "pread", pread)
    assert log.look() == {"error": "log cannot be read: Input/output error"}


def test_a_log_without_a_chain_has_whole_records() -> None:
    chain = Links()
    assert chain.fault(b'{"number": 1}') == ""
    assert chain.fault(b'{"number": 2}') == ""
    assert chain.fault(b'{"num') != ""
    assert Links(b"x").fault(b"{}") == ""


def test_a_chain_may_begin_in_a_log_and_does_not_end(place: Place) -> None:
    """A server from before the chain was updated."""
    chain, writer = Links(b'{"tool": "old"}'), Writer(place)
    assert chain.fault(b'{"tool": "old"}') == ""
    assert chain.fault(json.dumps({"entry_hash": "1" * 64}).encode()) == "a record has no hash, or another than it says"
    assert chain.fault(writer.record()) == ""
    assert chain.fault(b'{"tool": "old"}') == "a record has no hash, or another than it says"


def test_a_large_record_is_a_record(place: Place, writer: Writer, log: Watched, descriptor: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(watch, "BLOCK", 100)
    monkeypatch.setattr("ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.records.LIMIT", 1000)
    record = {"tool": "x" * 2000, "prev_hash": writer.head}
    writer.head = entry_hash(record, "entry_hash")
    place.append(json.dumps(record | {"entry_hash": writer.head}).encode() + b"\n")
    assert log.look() == {}
    fresh = Watched(descriptor, "log", (0o600, 0, 0), tmp_path / "memory.json")
    assert fresh.chain.head == "", "too large to be looked for: it begins with the next"
    writer.append()
    assert (log.look(), fresh.look()) == ({}, {})
    monkeypatch.setattr(watch, "LARGEST", 50)
    place.append(b"x" * 60)
    assert set(log.look()) == {"torn"}


class Asker:
    """The guard's end of the socket."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(str(path))
        self.socket.settimeout(5)

    def heard(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.socket.recv(1000))
        return found


def test_the_guard_is_told_and_answers(writer: Writer, log: Watched, place: Place, tmp_path: Path) -> None:
    reporter = Reporter([log], tmp_path / "socket")
    reporter.turn()  # nobody listens
    assert reporter.well > 0
    guard = Asker(tmp_path / "socket")
    reporter.turn()
    assert guard.heard() == {"faults": {}, "records": 0, "well": reporter.well}
    reporter.turn()  # as it was, and nobody asked
    assert json.loads(log.memory.read_text())["head"] == writer.head
    writer.append()
    assert place.run("rotate") == 0
    reporter.turn()
    well = reporter.well
    assert set(guard.heard()["faults"]) == {"cut"}
    guard.socket.send(watch.ACCEPT)
    reporter.turn()
    assert reporter.well == well
    reporter.turn()
    assert guard.heard() == {"faults": {}, "records": 1, "well": reporter.well}
    assert reporter.well > well
    log.memory.unlink()
    guard.socket.send(watch.REPORT)
    reporter.turn()
    assert guard.heard()["faults"] == {}
    assert not log.memory.exists(), "nothing is new"
    guard.socket.close()
    reporter.turn()
    assert reporter.guard is None
    reporter.listener.close()


def test_a_new_guard_is_the_only_one(log: Watched, tmp_path: Path) -> None:
    reporter = Reporter([log], tmp_path / "socket")
    first, second = Asker(tmp_path / "socket"), Asker(tmp_path / "socket")
    reporter.turn()
    assert first.heard()["faults"] == {}
    reporter.turn()
    assert second.heard()["faults"] == {}
    assert first.socket.recv(10) == b""
    second.socket.close()
    reporter.listener.close()


def test_what_systemd_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_FDS", "2")
    monkeypatch.setenv("LISTEN_FDNAMES", "audit.jsonl:second.jsonl")
    assert watch.opened() == [(3, "audit.jsonl"), (4, "second.jsonl")]
