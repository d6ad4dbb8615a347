# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What came of an enrolment so far, for the person who waits for it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from ..atomic import own_directory, read_as, write_json
from ..names import RUNTIME
from . import configuration

OPEN, ENROLLED, CLOSED = "open", "enrolled", "closed"
EVENTS = 50  # that are kept
POLL = 0.2


class Outcome(NamedTuple):
    """state: open, enrolled (the client got a token), closed (it got none). events: what was asked of the enrolment, in sentences."""

    name: str
    state: str
    events: list[str]


def read() -> Outcome | None:
    """Return the outcome of the last enrolment since the boot."""
    return read_as(Outcome, configuration.OUTCOME)


def write(found: Outcome) -> None:
    """Write an outcome down."""
    os.close(own_directory(RUNTIME))
    write_json(configuration.OUTCOME, found._asdict())


def add(event: str) -> None:
    """Add an event; the first ones count, because a stranger can cause any number."""
    found = read()
    if found and len(found.events) < EVENTS and event not in found.events:
        write(found._replace(events=[*found.events, event]))


def end(name: str, state: str) -> None:
    """Write down how an enrolment ended."""
    found = read()
    write(Outcome(name, state, found.events if found and found.name == name else []))


def follow(seconds: float) -> Iterator[str | Outcome]:
    """Yield the events of the enrolment that is open as they come, and then its outcome; or, after so many seconds, what is known."""
    deadline, told = time.monotonic() + seconds, 0
    while (found := read()) and time.monotonic() < deadline:
        yield from found.events[told:]
        told = len(found.events)
        if found.state != OPEN:
            break
        time.sleep(POLL)
    if found:
        yield found
