# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The copy of a log that becomes its segment."""

from __future__ import annotations

import hashlib
import os

from ..errors import NousVmError
from . import journal
from .log import Log
from .records import LIMIT, last_record, read_range
from .steps import Steps

SMALL_TAIL = 1 << 18  # bytes that are worth no further copy before the freeze
ROUNDS = 8  # copies before the freeze
ARCHIVE_MODE = 0o440


class Copy:
    """Copies a log: most of it while its units run, the tail while they are frozen."""

    def __init__(self, log: Log, steps: Steps) -> None:
        self.log = log
        self.steps = steps
        self.digest = hashlib.sha256()
        self.copied = 0  # bytes

    def bulk(self) -> None:
        """Copy what is there while the units run, until the rest is small."""
        self.log.discard()
        os.close(os.open(self.log.partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400))
        with open(self.log.live, "rb") as live:
            for _round in range(ROUNDS):
                end = last_record(live.fileno(), os.fstat(live.fileno()).st_size)
                if end - self.copied <= SMALL_TAIL:
                    break
                self._copy(live.fileno(), end)
                # To free what the page cache holds of the log would take most of the freeze; what is on the disk can go before it.
                os.fsync(live.fileno())
                os.posix_fadvise(live.fileno(), 0, self.copied, os.POSIX_FADV_DONTNEED)
        self.steps.add("copy", f"{self.copied} bytes of {self.log.live} while the units run")

    def tail(self) -> journal.Journal:
        """Copy the rest up to the last record and write the journal; the units are frozen."""
        with open(self.log.live, "rb") as live:
            size = os.fstat(live.fileno()).st_size
            if size - self.copied > LIMIT:
                raise NousVmError(f"{self.log.live} grew by {size - self.copied} bytes before its units were frozen: too many to copy while they are")
            self._copy(live.fileno(), last_record(live.fileno(), size))
            kept = b"".join(read_range(live.fileno(), self.copied, size))
        written = journal.write(self.log, kept, self.copied, self.digest.hexdigest())
        self.steps.add("journal", f"{written.cut} bytes of {self.log.live} are to go, {len(kept)} to stay")
        return written

    def _copy(self, live: int, end: int) -> None:
        """Copy on to END, and bring it to the disk."""
        with open(self.log.partial, "ab") as partial:
            for block in read_range(live, self.copied, end):
                partial.write(block)
                self.digest.update(block)
            partial.flush()
            os.fchown(partial.fileno(), self.log.config.uid, self.log.config.gid)
            os.fchmod(partial.fileno(), ARCHIVE_MODE)
            os.fsync(partial.fileno())
        self.copied = end
