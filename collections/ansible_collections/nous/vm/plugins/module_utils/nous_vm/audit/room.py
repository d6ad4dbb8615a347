# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Room first: space is reserved behind a log's end, so that on a full disk what is under way is still recorded."""

from __future__ import annotations

import os
from typing import NamedTuple

from ..errors import LockedError
from ..locks import held
from .log import Log
from .syscalls import reserve

RENEW = 0.75  # of the reservation, below which it is renewed
REJECT = 0.5  # of the reservation, below which no more traffic is let through


class Room(NamedTuple):
    """The bytes that are reserved behind a log's end, and why there are not more, or nothing."""

    left: int
    why: str = ""


def reserved(log: Log) -> int:
    """Return the bytes that are allocated behind a log's end."""
    found = os.stat(log.live)
    return max(found.st_blocks * 512 - found.st_size, 0)


def renew(log: Log) -> Room:
    """Reserve more if there is little left, but not while a rotation is at work: it takes whoever holds the log open for an attacker."""
    wanted, left = log.config.reserve, reserved(log)
    if left >= wanted * RENEW:
        return Room(left)
    try:
        with held(f"rotation-{log.config.name}", "reserve space"):
            descriptor = os.open(log.live, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                reserve(descriptor, os.fstat(descriptor).st_size, wanted)
            finally:
                os.close(descriptor)
    except LockedError:
        space = os.statvfs(log.live)
        return Room(left, "" if space.f_bavail * space.f_frsize >= wanted else "the disk is full, and a rotation is at work")
    except OSError as error:
        return Room(reserved(log), str(error.strerror or error))
    return Room(reserved(log))


def fault(log: Log, room: Room) -> str:
    """Return the sentence on too little room, or nothing. While a rotation is at work, there is what it leaves."""
    if not room.why or room.left >= log.config.reserve * REJECT:
        return ""
    return f"{log.live} has room for {room.left} bytes more, of {log.config.reserve} that are to be reserved: {room.why}"
