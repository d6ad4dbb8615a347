# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The row on the clock: by what the kernel says of it, whichever program keeps it right."""

from __future__ import annotations

import ctypes
import time

from ..health import Row
from ..machine import is_container

UNSYNCHRONISED = 0x0040  # STA_UNSYNC of adjtimex(2)
STATUS = 5  # the index of the field status in struct timex, in longs: modes, offset, freq, maxerror, esterror, status
GRACE = 3600.0  # seconds after a boot


def status() -> int | None:
    """Return the kernel's status of the clock; None if it does not say."""
    longs = (ctypes.c_long * 64)()
    try:
        answer = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(longs))
    except (OSError, AttributeError):
        return None
    return None if answer < 0 else int(longs[STATUS] & 0xFFFFFFFF)


def check() -> Row:
    """Return the row."""
    found, name = status(), "clock"
    if found is None:
        return Row(name, "unknown", "the kernel does not say whether it is synchronised")
    if not found & UNSYNCHRONISED:
        return Row(name, "ok", "synchronised")
    if is_container():
        return Row(name, "warn", "not synchronised; it is that of the machine that this container runs on")
    late = time.clock_gettime(time.CLOCK_BOOTTIME) > GRACE
    return Row(name, "fail" if late else "warn", "not synchronised; timedatectl status, and sudo apt install systemd-timesyncd if nothing keeps it")
