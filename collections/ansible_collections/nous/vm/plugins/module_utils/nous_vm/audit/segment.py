# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The copy of a log that becomes its newest archive."""

from __future__ import annotations

import errno
import hashlib
import os

from . import archives, journal
from .freeze import GaveUp
from .log import Log
from .records import last_record, read_range
from .steps import Steps
from .syscalls import reserve

SMALL_TAIL = 1 << 18  # bytes that are worth no further copy before the freeze
LARGE = 16 << 20  # bytes that are worth to be taken out of the page cache
TAIL = 1 << 20  # bytes that are copied or kept in the freeze at most
ROUNDS = 8  # copies before the freeze
UNKNOWN = (errno.EOPNOTSUPP, errno.ENOSYS)  # what a file system that cannot reserve answers


class Copy:
    """Copies a log: most of it while its units run, the tail while they are frozen."""

    def __init__(self, log: Log, steps: Steps) -> None:
        self.log = log
        self.steps = steps
        self.digest = hashlib.sha256()
        self.copied = 0  # bytes
        self.moves: list[tuple[int, str]] = []
        self.live = os.open(log.live, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        self.partial = -1

    def prepare(self) -> None:
        """Make what needs no freeze: the compressed archive, the file of the journal, and room for the copy."""
        discard(self.log)
        self.moves = archives.plan(self.log, self.steps)
        self.partial = archives.create(self.log, self.log.partial)
        size = os.fstat(self.live).st_size
        try:
            reserve(self.partial, 0, size + TAIL)
        except OSError as error:
            if error.errno not in UNKNOWN:
                raise
        self.moves.append((os.fstat(self.partial).st_ino, self.log.archive(1).name))
        journal.prepare(self.log)

    def bulk(self) -> None:
        """Copy on while the units run, until the rest is small."""
        before = self.copied
        for left in reversed(range(ROUNDS)):
            begin, end = self.copied, last_record(self.live, os.fstat(self.live).st_size)
            if end - begin <= SMALL_TAIL:
                break
            self._copy(end)
            if not left or (begin > before and end - begin <= TAIL):
                continue  # while it is brought to the disk, a log that grows fast grows by more than may be left to the freeze, which does that too
            os.fsync(self.partial)
            if end - begin > LARGE:
                # To free what the page cache holds of the log would take most of the freeze; what is on the disk can go before it.
                os.fsync(self.live)
                os.posix_fadvise(self.live, 0, self.copied, os.POSIX_FADV_DONTNEED)
        if self.copied > before:
            self.steps.add("copy", f"{self.copied - before} bytes of {self.log.live} while the units run")

    def tail(self) -> tuple[journal.Journal, bytes]:
        """Copy the rest up to the last record and write the journal; the units are frozen. Return it, and the bytes that stay in the log."""
        size = os.fstat(self.live).st_size
        if size - self.copied > TAIL:
            raise GaveUp(f"{self.log.live} grew by {size - self.copied} bytes before its units were frozen; at most {TAIL} are copied while they are")
        self._copy(last_record(self.live, size))
        os.ftruncate(self.partial, self.copied)  # gives back what was reserved for more
        os.fsync(self.partial)
        kept = b"".join(read_range(self.live, self.copied, size))
        inode = os.fstat(self.partial).st_ino
        written = journal.write(self.log, inode, kept, self.copied, self.digest.hexdigest(), self.moves)
        self.steps.add("journal", f"{written.cut} bytes of {self.log.live} are to go, {len(kept)} to stay")
        return written, kept

    def close(self) -> None:
        """Close what is open."""
        for descriptor in (self.live, self.partial):
            if descriptor >= 0:
                os.close(descriptor)

    def _copy(self, end: int) -> None:
        for block in read_range(self.live, self.copied, end):
            written = 0
            while written < len(block):
                written += os.pwrite(self.partial, block[written:], self.copied + written)
            self.digest.update(block)
            self.copied += len(block)


def discard(log: Log) -> None:
    """Remove what an interrupted rotation left, and what is not needed any more."""
    for path in log.left_over():
        path.unlink(missing_ok=True)
