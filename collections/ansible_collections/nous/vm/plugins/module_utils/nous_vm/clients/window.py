# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An enrolment that is open: until when it is, and what it is about. Its end is compared at each request, on a clock that nobody can set."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Any, NamedTuple

from .. import durations
from ..atomic import own_directory, read_as, write_json
from ..errors import UsageError
from ..names import RUNTIME
from . import configuration

LEAST, MOST = 60, 3600  # seconds of a window


class Window(NamedTuple):
    """An enrolment that is open. It lies in /run, so that no boot finds it.

    name: what the operator calls the client. client_id: empty until it is registered. redirect_uris: where a code may be sent. code: the SHA-256 of what the
    link of the person's browser carries. until: seconds of CLOCK_BOOTTIME. dynamic: whether the client registers itself.
    """

    name: str
    client_id: str
    redirect_uris: list[str]
    code: str
    until: float
    dynamic: bool

    def is_open(self) -> bool:
        """Tell whether it still is."""
        return now() < self.until

    def opened_by(self, code: str) -> bool:
        """Tell whether a code is that of the link."""
        return hmac.compare_digest(digest(code), self.code)


class Pending(NamedTuple):
    """What an enrolment has to be completed with, after whatever ended it; it outlasts a boot.

    previous: the server's records of the clients from before it. by, origin: who enrols, from where.
    """

    name: str
    client_id: str
    previous: dict[str, Any]
    by: str
    origin: str
    single: bool = False  # whether the server replaced the previous clients by this one


def now() -> float:
    """Return the seconds since the boot, of which nobody can take any back."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def digest(code: str) -> str:
    """Return what is kept of a code."""
    return hashlib.sha256(code.encode("utf-8", "surrogateescape")).hexdigest()


def seconds(text: str) -> int:
    """Return a duration, such as 10m, in seconds. Raises UsageError."""
    found = durations.seconds(text, "smh")
    if found is None or not LEAST <= found <= MOST:
        raise UsageError(f"--for is {text!r}; allowed is a number with s, m or h, from 60s to 1h, for example 10m")
    return found


def current() -> Window | None:
    """Return the enrolment whose time is not over."""
    found = read_as(Window, configuration.WINDOW)
    return found if found and found.is_open() else None


def save(window: Window) -> None:
    """Write down an enrolment that is open, for root alone."""
    import os

    os.close(own_directory(RUNTIME))
    write_json(configuration.WINDOW, window._asdict())


def pending() -> Pending | None:
    """Return the enrolment that is to be completed."""
    return read_as(Pending, configuration.PENDING)


def save_pending(about: Pending) -> None:
    """Write down what an enrolment has to be completed with."""
    write_json(configuration.PENDING, about._asdict())
