# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How weak a server's audit log is: what the stand-in and the real one have in common. make contract SERVER=DIR runs it against the real one.

Nothing here knows more of the server than its tools, its files and the environment that it is started with.
"""

from __future__ import annotations

import gzip
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chain
import pytest
from conftest import Server

MakeServer = Callable[..., Server]
REAL = Path(os.environ["SERVER"]) if os.environ.get("SERVER") else None
PADDING = 8 << 20  # bytes of the record that makes the log larger than any other file of the server


@pytest.fixture
def subject(make_server: MakeServer) -> Server:
    """The server, not started yet."""
    server = make_server(REAL / "src" if REAL else None, NOUS_POLICY="open")
    if REAL:
        server.python = str(REAL / ".venv/bin/python")
    return server


def log_of(server: Server) -> Path:
    return server.home / "audit.jsonl"


def ask(server: Server, tool: str) -> dict[str, Any]:
    """Call one of the tools of the audit log, which answers with JSON as text; the call itself is a record."""
    found: dict[str, Any] = json.loads(server.call(tool)["result"])
    return found


def last(server: Server) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(log_of(server).read_text().splitlines()[-1])
    return record


def seed(server: Server, size: int = 0) -> None:
    """Write the log's first record."""
    record = {"ts": "2026-01-01T00:00:00Z", "tool": "seed", "text": "x" * size, "prev_hash": chain.GENESIS}
    log_of(server).write_text(json.dumps(record | {"entry_hash": chain.digest(record)}) + "\n")


def rotate(server: Server, keep: bool = True) -> None:
    """Make archive 1 of all records but the last, and 2 of the one before, as a rotation in place does."""
    log = log_of(server)
    if (before := Path(f"{log}.1")).exists():
        Path(f"{log}.2.gz").write_bytes(gzip.compress(before.read_bytes()))
    lines = log.read_bytes().splitlines(keepends=True)
    before.write_bytes(b"".join(lines[:-1]))
    with log.open("r+b") as file:
        file.write(lines[-1] if keep else b"")
        file.truncate()


def test_every_call_is_a_record_in_one_chain(subject: Server) -> None:
    subject.start()
    ask(subject, "audit_summary")
    seen = ask(subject, "audit_summary")
    records = chain.walk([log_of(subject)])
    assert [record["tool"] for record in records] == ["audit_summary"] * 2
    assert (seen["degraded"], seen["chain_head"]) == (False, records[0]["entry_hash"])
    assert ask(subject, "audit_verify")["ok"]


def test_a_record_that_cannot_be_written_is_swallowed(subject: Server) -> None:
    """The kernel's limit of a file's size stands for a full disk: write(2) fails, and nothing else. The log is the largest file by far."""
    seed(subject, PADDING)
    subject.start()
    ask(subject, "audit_summary")
    size = log_of(subject).stat().st_size
    resource.prlimit(subject.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    before = ask(subject, "audit_summary")
    for _call in range(30):
        seen = ask(subject, "audit_summary")
    assert log_of(subject).stat().st_size == size
    assert (seen["degraded"], seen["fsync_failures"]) == (False, 0)
    assert seen["writes_total"] == before["writes_total"] + 30, "it counts them as written"
    assert ask(subject, "audit_verify")["ok"], "what is there is whole, and what is missing is not seen"
    resource.prlimit(subject.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    ask(subject, "audit_summary")
    assert not ask(subject, "audit_verify")["ok"], "with room again the next record does not link"


def test_the_head_lives_in_memory_and_a_resync_reads_it_from_the_file(subject: Server) -> None:
    subject.start()
    for _call in range(3):
        ask(subject, "audit_summary")
    head = last(subject)["entry_hash"]
    with log_of(subject).open("r+b") as file:
        file.truncate(len(file.readline()))
    ask(subject, "audit_summary")
    assert last(subject)["prev_hash"] == head, "it goes on from what it remembers"
    with log_of(subject).open("r+b") as file:
        file.truncate(len(file.readline()))
    assert not ask(subject, "audit_resync")["degraded"]
    assert len(chain.walk([log_of(subject)])) == 2


def test_a_start_reads_the_head_from_the_last_line_and_begins_at_zeros_without(subject: Server) -> None:
    seed(subject)
    subject.start()
    ask(subject, "audit_summary")
    subject.stop()
    assert len(chain.walk([log_of(subject)])) == 2
    log_of(subject).write_bytes(b"")
    subject.start()
    ask(subject, "audit_summary")
    assert last(subject)["prev_hash"] == chain.GENESIS


def test_a_log_that_was_renamed_is_opened_anew_under_its_name(subject: Server) -> None:
    subject.start()
    ask(subject, "audit_summary")
    log_of(subject).rename(f"{log_of(subject)}.1")
    ask(subject, "audit_summary")
    assert len(chain.walk([Path(f"{log_of(subject)}.1"), log_of(subject)])) == 2


def test_the_verifier_reads_numbered_archives_and_takes_what_is_no_rotation_for_tampering(subject: Server) -> None:
    """audit_anchor_verify is a tool for everybody; whatever it finds is pinned at the first call of a day too."""
    subject.start()
    log = log_of(subject)
    for _rotation in range(2):
        for _call in range(3):
            ask(subject, "audit_summary")
        rotate(subject)
    ask(subject, "audit_summary")
    Path(f"{log}.partial").write_text("not an archive")
    assert ask(subject, "audit_anchor_verify")["ok"], "names that are no number are not read"
    newest, oldest = Path(f"{log}.1"), Path(f"{log}.2.gz")
    Path(f"{log}.1.gz").write_bytes(gzip.compress(newest.read_bytes()))
    assert not ask(subject, "audit_anchor_verify")["ok"], "an archive beside what it was made of"
    Path(f"{log}.1.gz").unlink()
    aside = newest.rename(log.with_name("aside"))
    assert "dangling" in ask(subject, "audit_anchor_verify")["reason"], "while a segment is not where it is looked for"
    aside.rename(newest)
    assert ask(subject, "audit_anchor_verify")["ok"]
    content = oldest.read_bytes()
    oldest.write_bytes(content[: len(content) // 2])
    assert not ask(subject, "audit_anchor_verify")["ok"], "an archive that is not compressed to its end"
    oldest.unlink()
    assert "truncation" in ask(subject, "audit_anchor_verify")["reason"], "the archive with the record that the newest anchor pins is gone"


def test_the_first_call_of_a_day_pins_what_it_finds(subject: Server) -> None:
    seed(subject)
    subject.start()
    for _call in range(3):
        ask(subject, "audit_summary")
    subject.stop()
    anchors = subject.home / "audit-anchors.jsonl"
    (first,) = map(json.loads, anchors.read_text().splitlines())
    assert (first["chained"], first["chain_ok"], first["prev_anchor_hash"]) == (2, True, chain.GENESIS)
    assert first["head"] == chain.walk([log_of(subject)])[1]["entry_hash"]
    anchors.unlink()
    Path(f"{log_of(subject)}.1.gz").write_bytes(gzip.compress(log_of(subject).read_bytes())[:-20])
    subject.start()
    ask(subject, "audit_summary")
    (second,) = map(json.loads, anchors.read_text().splitlines())
    assert not second["chain_ok"], "for ever: the file can only grow"


def test_a_second_registration_replaces_the_first(subject: Server) -> None:
    subject.start()
    subject.token()
    (first,) = json.loads((subject.home / "auth/clients.json").read_text())
    subject.token()
    (second,) = json.loads((subject.home / "auth/clients.json").read_text())
    assert first != second
