# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The records of a log: lines of bytes, the last of which may be incomplete."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ..errors import NousVmError
from ..foreign import line_end

BLOCK = 1 << 20  # bytes that are copied at once
LIMIT = 1 << 20  # bytes of a record, with an incomplete one behind it: what stays in the log is written while its units are frozen
FURTHER = 1 << 28  # bytes that are searched for the size of one that is larger


def read_range(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    """Yield the bytes from start to end in blocks. Raises NousVmError if the log has become shorter."""
    while start < end:
        block = os.pread(descriptor, min(BLOCK, end - start), start)
        if not block:
            raise NousVmError(f"the log ends at byte {start}, before byte {end}: somebody cut it")
        start += len(block)
        yield block


def last_record(descriptor: int, size: int) -> int:
    """Return the offset of the last complete record, which an incomplete one may follow; 0 if no record comes before it.

    Raises NousVmError with their size if the two have more than LIMIT bytes.
    """
    end = complete(descriptor, size)
    start = line_end(descriptor, end - 1, size - FURTHER) if end else 0
    if size - start > LIMIT:
        more = "at least " if start and size - start >= FURTHER else ""
        raise NousVmError(f"the last record of the log, with what is incomplete behind it, has {more}{size - start} bytes; at most {LIMIT} can stay in the log")
    return start


def complete(descriptor: int, size: int) -> int:
    """Return the offset behind the last line end: where an incomplete record begins, or the size."""
    return line_end(descriptor, size, size - FURTHER)
