# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The records of a log: lines of bytes, the last of which may be incomplete."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ..errors import NousVmError

BLOCK = 1 << 20  # bytes that are copied at once
SEARCH = 1 << 16  # bytes that are searched at once


def read_range(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    """Yield the bytes from start to end in blocks. Raises NousVmError if the log has become shorter."""
    while start < end:
        block = os.pread(descriptor, min(BLOCK, end - start), start)
        if not block:
            raise NousVmError(f"the log ends at byte {start}, before byte {end}: somebody cut it")
        start += len(block)
        yield block


def last_record(descriptor: int, size: int) -> int:
    """Return the offset of the last complete record, which an incomplete one may follow; 0 if no record comes before it."""
    tail, start = b"", size
    while start > 0 and tail.count(b"\n") < 2:
        block = min(SEARCH, start)
        start -= block
        tail = os.pread(descriptor, block, start) + tail
    end = tail.rfind(b"\n")
    return start + tail.rfind(b"\n", 0, max(end, 0)) + 1
