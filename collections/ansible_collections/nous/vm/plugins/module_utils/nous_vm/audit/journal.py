# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to become of a log, on the disk before the log is touched."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass

from .. import atomic
from ..errors import NousVmError
from .log import Log


@dataclass(frozen=True)
class Journal:
    """Where the cut is, what is kept, and what tells an uncut log from a cut one.

    size, cut: bytes of the log, and those that become the segment. The digests are of the segment, of the bytes that stay, and of those of them that the
    kept bytes do not overwrite at the log's start.
    """

    inode: int
    size: int
    cut: int
    segment_sha256: str
    kept_sha256: str
    untouched_sha256: str


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write(log: Log, kept: bytes, cut: int, segment_sha256: str) -> Journal:
    """Bring the kept bytes, and then the journal, to the disk."""
    untouched = kept[max(0, len(kept) - cut) :]
    journal = Journal(os.stat(log.live).st_ino, cut + len(kept), cut, segment_sha256, sha256(kept), sha256(untouched))
    atomic.write(log.kept, kept)
    atomic.write(log.journal, json.dumps(asdict(journal), indent=2).encode() + b"\n")
    return journal


def read(log: Log) -> Journal:
    """Return the journal of a rotation that was interrupted."""
    return Journal(**json.loads(log.journal.read_bytes()))


def kept(log: Log, journal: Journal) -> bytes:
    """Return the bytes that stay in the log.

    More lies there if a recovery was killed after it had written more to keep, and before its journal spoke of it.
    """
    return log.kept.read_bytes()[: journal.size - journal.cut]


def verify(log: Log, journal: Journal) -> None:
    """Raise NousVmError if the journal is of another log or other bytes than are there: it is not this run that wrote them."""
    with open(log.partial, "rb") as partial:
        found = (hashlib.file_digest(partial, "sha256").hexdigest(), sha256(kept(log, journal)))
    if found != (journal.segment_sha256, journal.kept_sha256):
        raise NousVmError(f"{log.journal} is of other bytes than {log.partial} or {log.kept}")
