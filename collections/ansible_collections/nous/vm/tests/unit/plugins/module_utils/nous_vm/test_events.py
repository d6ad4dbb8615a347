# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notable events: each in the journal and in the trail, readable whatever is in it and whatever happened to the line before."""

from __future__ import annotations

import hashlib
import json
import os
import syslog
import time
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import events, inodes, locks


@pytest.fixture(autouse=True)
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What goes to the journal; the trail is in a folder of the test's own."""
    lines: list[str] = []
    monkeypatch.setattr(syslog, "syslog", lines.append)
    monkeypatch.setattr(events, "FOLDER", tmp_path / "log")
    monkeypatch.setattr(events, "TRAIL", tmp_path / "log/trail.jsonl")
    monkeypatch.setattr(inodes, "change", lambda _descriptor, on: on)  # a test's folder could not be removed then
    monkeypatch.setenv("SUDO_USER", "alice")
    monkeypatch.setenv("SSH_CONNECTION", "203.0.113.7 50000 192.0.2.1 22")
    return lines


def test_an_event(journal: list[str]) -> None:
    entry = events.record("deployed", release="1.2.3", seconds=4.5, nothing=None)
    assert entry.pop("time")
    assert entry == {"event": "deployed", "result": "done", "user": "alice", "from": "203.0.113.7", "release": "1.2.3", "seconds": 4.5}
    (read,) = events.history()
    assert json.loads(journal[0]) == read
    assert read["release"] == "1.2.3"
    assert events.TRAIL.stat().st_mode & 0o777 & ~0o640 == 0


def test_it_is_printable(monkeypatch: pytest.MonkeyPatch, journal: list[str]) -> None:
    monkeypatch.setenv("SUDO_USER", "a\x1b[31m")
    monkeypatch.setenv("SSH_CONNECTION", "\x9b2J x")
    events.record("failed", result="no\nroom\u202e", name="x\x07")
    (read,) = events.history()
    assert (read["user"], read["from"], read["result"], read["name"]) == ("a\\x1b[31m", "\\x9b2J", "no room\\u202e", "x\\x07")
    assert journal[0].isprintable()


def test_one_from_the_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_CONNECTION")
    monkeypatch.setattr(locks, "ANCESTORS", 0)  # whoever runs this may have come by ssh
    assert events.record("rotated")["from"] == "local"


def test_one_with_too_much_about_it_is_read_without_that(journal: list[str]) -> None:
    entry = events.record("deployed", **{f"detail{number}": "x" * 500 for number in range(20)})
    assert len(journal[0]) <= events.RECORD
    assert events.history() == [entry]
    assert entry["event"] == "deployed"
    assert entry["omitted"].startswith("detail0, detail1, ")


def test_a_line_that_was_cut_costs_only_itself() -> None:
    events.record("one")
    events.record("two")
    os.truncate(events.TRAIL, events.TRAIL.stat().st_size - 5)
    events.record("three")
    assert [event["event"] for event in events.history()] == ["one", "three"]


def lines() -> list[bytes]:
    return events.TRAIL.read_bytes().split(b"\n")[:-1]


def test_each_line_names_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that is no event, and one that was cut short."""
    for number in range(3):
        events.record(str(number))
    with events.TRAIL.open("ab") as trail:
        trail.write(b"x" * 70000 + b"\ntorn")
    events.record("after")
    events.record("last", detail="y" * events.RECORD)
    named = [json.loads(line)["previous"] for line in lines() if line.startswith(b"{")]
    hashes = [hashlib.sha256(line).hexdigest() for line in lines()]
    assert named == ["0" * 64, *hashes[:2], hashes[4], hashes[5]]
    assert [len(line) <= events.RECORD for line in lines()].count(False) == 1


def test_two_that_record_at_once_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    last_line = events._last_line

    def and_dawdle(descriptor: int) -> tuple[bytes, bool]:
        found = last_line(descriptor)
        time.sleep(0.002)  # for the other ones to write meanwhile, if they could
        return found

    monkeypatch.setattr(events, "_last_line", and_dawdle)
    children = []
    for _child in range(4):
        children.append(os.fork())
        if not children[-1]:
            for number in range(25):
                events.record(str(number))
            os._exit(0)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    hashes = [hashlib.sha256(line).hexdigest() for line in lines()]
    assert [json.loads(line)["previous"] for line in lines()] == ["0" * 64, *hashes[:-1]]


def test_an_event_is_written_though_somebody_holds_the_trail(monkeypatch: pytest.MonkeyPatch) -> None:
    events.record("one")
    monkeypatch.setattr(events, "WAIT", 0.1)
    with events.TRAIL.open("rb+") as held:
        assert locks.taken(held.fileno(), 0)
        events.record("two")
    assert [event["event"] for event in events.history()] == ["one", "two"]


def test_lines_that_are_no_events_are_left_out() -> None:
    events.record("one")
    with events.TRAIL.open("ab") as trail:
        trail.write(b"[1]\n\xff\n\n{\n3\n")
    events.record("two")
    assert [event["event"] for event in events.history()] == ["one", "two"]


def test_history_is_of_the_last() -> None:
    assert events.history() == []
    for number in range(10):
        events.record(str(number))
    assert [event["event"] for event in events.history(3)] == ["7", "8", "9"]
    assert len(events.history(100)) == 10


def test_history_reads_no_more_than_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        events.record(str(number))
    monkeypatch.setattr(events, "READ", 500)
    assert [event["event"] for event in events.history(100)] in (["8", "9"], ["7", "8", "9"])


@pytest.mark.parametrize("trail", ["a link", "a folder", "no folder"])
def test_a_trail_that_cannot_be_written_ends_nothing(tmp_path: Path, journal: list[str], trail: str) -> None:
    """Nor is anything written elsewhere; the journal has it."""
    victim = tmp_path / "victim"
    if trail == "no folder":
        events.FOLDER.symlink_to(tmp_path / "elsewhere")
    else:
        events.FOLDER.mkdir()
    if trail == "a link":
        events.TRAIL.symlink_to(victim)
    elif trail == "a folder":
        events.TRAIL.mkdir()
    events.record("deployed")
    assert len(journal) == 1
    assert not victim.exists()


def test_the_trail_is_made_append_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what the kernel is asked for; that it then lets go of no line is for a host to show."""
    asked: list[int] = []
    monkeypatch.setattr(inodes, "change", lambda _descriptor, on: asked.append(on))
    events.record("deployed")
    assert asked == [inodes.APPEND_ONLY]


def test_a_file_system_without_flags_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_descriptor: int, on: int) -> None:
        raise OSError(25, "Inappropriate ioctl for device")

    monkeypatch.setattr(inodes, "change", none)
    events.record("deployed")
    assert len(events.history()) == 1
