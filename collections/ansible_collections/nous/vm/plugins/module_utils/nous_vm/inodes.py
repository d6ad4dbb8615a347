# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inode flags: append-only (chattr +a) and immutable (chattr +i), as in ioctl_iflags(2); and whether somebody holds a file open for writing."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from pathlib import Path

# The numbers of x86, Arm, RISC-V and s390.
GET_FLAGS, SET_FLAGS = 0x80086601, 0x40086602
IMMUTABLE, APPEND_ONLY = 0x10, 0x20
WITHOUT_FLAGS = (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)  # what a file system that has no flags answers


def flags(file: int | Path) -> int:
    """Return the flags of a file, given as a descriptor or a path; a file system without flags has none."""
    return change(file)


def change(file: int | Path, on: int = 0, off: int = 0) -> int:
    """Set and lift flags, leave the others as they are, and return those that the file had. Raises OSError if the file system does not take them."""
    if isinstance(file, int):
        return _change(file, on, off)
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return _change(descriptor, on, off)
    finally:
        os.close(descriptor)


def _change(descriptor: int, on: int, off: int) -> int:
    try:
        before = int.from_bytes(fcntl.ioctl(descriptor, GET_FLAGS, bytes(4)), sys.byteorder)
    except OSError as error:
        if on or error.errno not in WITHOUT_FLAGS:
            raise
        return 0
    after = (before | on) & ~off
    if after != before:
        fcntl.ioctl(descriptor, SET_FLAGS, after.to_bytes(4, sys.byteorder))
    return before


def written(path: Path) -> bool:
    """Tell whether somebody holds a file of one's own open for writing: then there can be no read lease, fcntl(2). Where it cannot be told, somebody does."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
