# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cut of a log as its journal says. It is done or not done: recovery completes one that was done, and takes back one that was not."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .. import inodes
from ..errors import NousVmError
from .journal import Journal, sha256
from .log import Log
from .records import read_range
from .steps import Steps
from .syscalls import reserve


@contextmanager
def writable(log: Log, held: Callable[[], object]) -> Iterator[int]:
    """Yield a descriptor that can overwrite the log. held: raises unless all are frozen who could open it; and so they stay until the flag is back."""
    held()  # and so it stays: whoever thaws the units has ended this process before
    try:
        inodes.change(log.live, off=inodes.APPEND_ONLY)
        live = os.open(log.live, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            yield live
        finally:
            os.close(live)
    finally:
        inodes.change(log.live, on=inodes.APPEND_ONLY)


def cut(log: Log, written: Journal, kept: bytes, held: Callable[[], object], steps: Steps) -> float:
    """Cut the log and return the milliseconds of the truncation itself, which depend on its size."""
    with writable(log, held) as live:
        _write(live, kept)
        held()
        if os.fstat(live).st_size != written.size:
            raise NousVmError(f"{log.live} grew although its units are frozen")
        begin = time.monotonic()
        os.ftruncate(live, len(kept))
        milliseconds = (time.monotonic() - begin) * 1000
        _finish(log, live, steps)
    steps.add("cut", f"{log.live} from {written.size} to {len(kept)} bytes, in {milliseconds:.0f} ms")
    return milliseconds


def is_cut(log: Log, written: Journal, kept: bytes) -> bool:
    """Tell whether the log was cut, whatever was appended since."""
    start = max(written.cut, len(kept))
    with open(log.live, "rb") as live:
        size = os.fstat(live.fileno()).st_size
        return size < written.size or sha256(b"".join(read_range(live.fileno(), start, written.size))) != written.untouched_sha256


def complete(log: Log, kept: bytes, held: Callable[[], object], steps: Steps) -> None:
    """Bring a cut that was done to its end: what stays is at the log's start, whatever a power cut left there."""
    with writable(log, held) as live:
        _write(live, kept)
        _finish(log, live, steps)
    steps.add("keep", f"{len(kept)} bytes at the start of {log.live}")


def overwritten(log: Log, kept: bytes) -> bytes:
    """Return what was at the start of a log that was not cut, if a cut that was begun has overwritten it; nothing if it is as it was."""
    with open(log.partial, "rb") as partial, open(log.live, "rb") as live:
        before = (partial.read(len(kept)) + kept)[: len(kept)]
        return before if live.read(len(before)) != before else b""


def take_back(log: Log, before: bytes, held: Callable[[], object], steps: Steps) -> None:
    """Write back what was at the start of a log that was not cut."""
    with writable(log, held) as live:
        _write(live, before)
        os.fsync(live)
    steps.add("take back", f"{len(before)} bytes at the start of {log.live}, which was not cut")


def _write(live: int, content: bytes) -> None:
    written = 0
    while written < len(content):
        written += os.pwrite(live, content[written:], written)


def _finish(log: Log, live: int, steps: Steps) -> None:
    """Set owner and mode, which cannot be done under the flag, keep room behind the log's end, which the cut gave back, and bring all to the disk."""
    config, found = log.config, os.fstat(live)
    if (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) != (config.uid, config.gid, config.mode):
        os.fchown(live, config.uid, config.gid)
        os.fchmod(live, config.mode)
        steps.add("mend", f"{log.live}: {config.permissions}")
    if config.reserve:
        try:
            reserve(live, found.st_size, config.reserve)
        except OSError as error:  # the guard acts on what is left
            steps.add("room", str(error))
    os.fsync(live)
