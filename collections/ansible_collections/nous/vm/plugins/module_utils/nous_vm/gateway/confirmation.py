# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change of the gateway is confirmed from outside, by the controller that had reached it before; without that the host rolls it back by itself."""

from __future__ import annotations

import os
import time

from ..atomic import own_directory, write
from ..errors import NousVmError
from ..foreign import read_file
from ..names import RUNTIME
from ..systemd import is_active

STATE = RUNTIME / "gateway-confirm"
UNIT = "nous-vm-gateway-apply.service"
WAITS, CONFIRMED = b"waits", b"confirmed"
POLL = 0.2


def awaited(seconds: float) -> str:
    """Wait for the confirmation; return what is wrong if it does not come in time."""
    os.close(own_directory(RUNTIME))
    write(STATE, WAITS)
    try:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if read_file(STATE) == CONFIRMED:
                return ""
            time.sleep(POLL)
    finally:
        STATE.unlink(missing_ok=True)
    return f"The controller, which had reached the gateway before, did not within {seconds:g} s."


def wait(seconds: float) -> bool:
    """Wait until a change is to be confirmed; return whether one is, or it has ended before."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if STATE.exists():
            return True
        if not is_active(UNIT) and not STATE.exists():
            return False
        time.sleep(POLL)
    return False


def confirm() -> None:
    """Confirm the change that waits. Raises NousVmError if none does."""
    if not STATE.exists():
        raise NousVmError("no change of the gateway waits to be confirmed: it was too late, and was rolled back")
    write(STATE, CONFIRMED)
