# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to become of a log and its archives, on the disk before the log is touched.

A journal is one file: a line of JSON, and behind it the bytes that stay in the log. It is there, empty, before the freeze, so that nothing but its content has
to get to the disk in it. One that is not complete is none.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass

from ..atomic import sync_directory
from ..errors import NousVmError
from .log import Log


@dataclass(frozen=True)
class Journal:
    """Where the cut is, what is kept, what tells an uncut log from a cut one, and the names that files get, in this order.

    size, cut: bytes of the log, and those that become the segment. The digests are of the segment, of the bytes that stay, and of those of them that the
    kept bytes do not overwrite at the log's start. segment: inode of the copy. moves: inode and name, below the log's folder.
    """

    inode: int
    size: int
    cut: int
    segment: int
    segment_sha256: str
    kept_sha256: str
    untouched_sha256: str
    moves: list[tuple[int, str]]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def prepare(log: Log) -> None:
    """Have the journal's name on the disk."""
    os.close(os.open(log.journal, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    sync_directory(log.config.segments)


def write(log: Log, segment: int, kept: bytes, cut: int, segment_sha256: str, moves: list[tuple[int, str]]) -> Journal:
    """Bring the journal to the disk."""
    first = max(0, len(kept) - cut)
    untouched = kept[first:]
    journal = Journal(os.stat(log.live).st_ino, cut + len(kept), cut, segment, segment_sha256, sha256(kept), sha256(untouched), moves)
    with open(log.journal, "rb+") as file:
        file.write(json.dumps(asdict(journal)).encode() + b"\n" + kept)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())
    return journal


def reset(log: Log) -> None:
    """Have the journal of a log that is not cut after all say nothing."""
    os.truncate(log.journal, 0)


def read(log: Log) -> tuple[Journal, bytes] | None:
    """Return the journal of a rotation that was interrupted and the bytes that stay in the log; None if it was before the journal was on the disk."""
    try:
        head, _end, kept = log.journal.read_bytes().partition(b"\n")
        journal = Journal(**json.loads(head))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return (journal, kept) if sha256(kept) == journal.kept_sha256 else None


def verify(log: Log, journal: Journal) -> None:
    """Raise NousVmError if the journal is of another log or other bytes than are there: it is not this run that wrote them."""
    if os.stat(log.live).st_ino != journal.inode:
        raise NousVmError(f"{log.live} is not the file that {log.journal} is of")
    for path in (log.partial, log.archive(1)):
        if path.exists() and path.stat().st_ino == journal.segment:
            with open(path, "rb") as segment:
                if hashlib.file_digest(segment, "sha256").hexdigest() == journal.segment_sha256:
                    return
            raise NousVmError(f"{log.journal} is of other bytes than {path}")
    raise NousVmError(f"{log.partial}, which {log.journal} is of, is gone")
