# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cut of a log as its journal says. It ends the same, however often it was interrupted before."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import BinaryIO

from .. import inodes
from ..atomic import sync_directory
from ..errors import NousVmError
from . import journal
from .journal import Journal, sha256
from .log import Log
from .records import read_range
from .steps import Steps


def finish(log: Log, still: Callable[[], object], verify: bool, steps: Steps) -> None:
    """Cut the log, unless that is done.

    still: raises if a unit is not frozen any more. verify: compare the journal with the bytes that are there.
    """
    if not log.partial.exists():
        return
    written = journal.read(log)
    if os.stat(log.live).st_ino != written.inode:
        raise NousVmError(f"{log.live} is not the file that {log.journal} is of")
    if verify:
        journal.verify(log, written)
    still()  # and so it stays: whoever thaws the units has ended this process before
    try:
        inodes.change(log.live, off=inodes.APPEND_ONLY)
        steps.add("writable", f"{log.live} can be cut")
        with open(log.live, "rb+") as live:
            _cut(log, live, written, still, steps)
            _mend(log, live.fileno(), steps)
            os.fsync(live.fileno())
    finally:
        inodes.change(log.live, on=inodes.APPEND_ONLY)
    steps.add("append-only", f"{log.live}")


def _cut(log: Log, live: BinaryIO, written: Journal, still: Callable[[], object], steps: Steps) -> None:
    """Leave the kept bytes and what was appended after them."""
    file, size, kept = live.fileno(), written.size, journal.kept(log, written)
    now = os.fstat(file).st_size
    start = min(max(written.cut, len(kept)), now)
    untouched = sha256(b"".join(read_range(file, start, min(size, now))))
    uncut = now >= size and untouched == written.untouched_sha256
    if uncut and now > size:  # units that were thawed before their time went on to write
        kept, size = kept + b"".join(read_range(file, size, now)), now
        journal.write(log, kept, written.cut, written.segment_sha256)
        steps.add("journal", f"{len(kept)} bytes of {log.live} are to stay, with what was written meanwhile")
    live.write(kept)
    live.flush()
    steps.add("keep", f"{len(kept)} bytes at the start of {log.live}")
    if uncut:
        still()
        if os.fstat(file).st_size != size:
            raise NousVmError(f"{log.live} grew although its units are frozen")
        os.ftruncate(file, len(kept))
        steps.add("cut", f"{log.live} from {size} to {len(kept)} bytes")


def _mend(log: Log, file: int, steps: Steps) -> None:
    """Set owner and mode, which cannot be done under the flag."""
    config, found = log.config, os.fstat(file)
    if (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) != (config.uid, config.gid, config.mode):
        os.fchown(file, config.uid, config.gid)
        os.fchmod(file, config.mode)
        steps.add("mend", f"{log.live}: {config.permissions}")


def settle(log: Log, steps: Steps) -> int:
    """Give the segment its name and return its size; the log is cut, so the units may run again while this gets to the disk."""
    size = 0
    if log.partial.exists():
        os.rename(log.partial, log.segment)
        sync_directory(log.config.segments)
        size = os.stat(log.segment).st_size
        steps.add("segment", f"{log.segment}, {size} bytes")
    log.journal.unlink()
    log.kept.unlink(missing_ok=True)
    return size
