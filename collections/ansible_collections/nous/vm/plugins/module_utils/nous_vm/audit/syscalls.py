# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Python's standard library has no function for: reserving space behind a file's end, and watching who opens what in a folder."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path

KEEP_SIZE = 1  # FALLOC_FL_KEEP_SIZE of fallocate(2)
OPENED, CLOSED_UNWRITTEN, FOLDER = 0x20, 0x10, 0x40000000  # IN_OPEN, IN_CLOSE_NOWRITE, IN_ISDIR of inotify(7)
BLOCK = 1 << 16
HEAD = struct.Struct("iIII")

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def reserve(descriptor: int, start: int, size: int) -> None:
    """Allocate SIZE bytes from an offset on, and leave the file's size as it is. Raises OSError, ENOSPC for example.

    An append-only file takes that, and what is appended later uses it, on a full disk too. A truncation gives it back.
    """
    _checked(_libc.fallocate(descriptor, KEEP_SIZE, ctypes.c_long(start), ctypes.c_long(size)), "space cannot be reserved")


def watch(folder: Path) -> int:
    """Return a descriptor of inotify(7) that has an event for each file of a folder that is opened, or closed by who did not write to it."""
    descriptor = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify")
    try:
        _checked(_libc.inotify_add_watch(descriptor, os.fsencode(folder), OPENED | CLOSED_UNWRITTEN), f"{folder} cannot be watched")
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def seen(descriptor: int) -> Iterator[tuple[int, str]]:
    """Yield what happened since the last call: the mask of an event, and the name of the file, empty for the folder itself."""
    while True:
        try:
            content = os.read(descriptor, BLOCK)
        except BlockingIOError:
            return
        while content:
            _watch, mask, _cookie, length = HEAD.unpack_from(content)
            begin, end = HEAD.size, HEAD.size + length
            yield mask, os.fsdecode(content[begin:end].rstrip(b"\0"))
            content = content[end:]
