# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the watch saw last, and what of it nobody was told yet: an outbox for each way out, which is bounded and outlasts a boot.

An outbox holds changes, not messages: however long a catcher is down, it gets one message with all that changed since it was told last.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ..atomic import read_json, write_json
from ..foreign import printable
from ..health import Finding
from . import configuration

PATH = configuration.FOLDER / "state.json"
CHANGES = 50  # that an outbox keeps; of older ones the number
PERIOD = 300.0  # seconds from a failed attempt to the next, doubled each time
LONGEST = 6 * 3600.0
ATTEMPTS = 12  # over about two days; what changes then is tried anew
OWN = "watch: alerts"  # the row on the alerts themselves, which would never come to an end


def key(row: Finding) -> str:
    """Return what a row is known by."""
    return f"{row.part}: {row.name}"


def red(found: list[Finding]) -> dict[str, str]:
    """Return the rows that failed and of which somebody is to be told, with their details."""
    return {key(row): row.detail for row in found if row.status == "fail" and key(row) != OWN}


@dataclass
class Outbox:
    """What one way out is still to be told.

    changes: {"at", "red": {row: detail}, "well": [row]}, the oldest first. omitted: how many older ones are not kept. attempts: how many failed since the last
    change. due: seconds since the epoch at which it is tried again. problem: why it failed last.
    """

    changes: list[dict[str, Any]] = field(default_factory=list)
    omitted: int = 0
    attempts: int = 0
    due: float = 0.0
    problem: str = ""

    def add(self, change: dict[str, Any]) -> None:
        """Add a change, for which it is tried at once."""
        self.changes.append(change)
        self.omitted += max(len(self.changes) - CHANGES, 0)
        self.changes = self.changes[-CHANGES:]
        self.attempts, self.due = 0, 0.0

    def is_due(self, now: float) -> bool:
        """Tell whether somebody is to be told now."""
        return bool(self.changes) and now >= self.due and not self.gave_up

    @property
    def gave_up(self) -> bool:
        """Whether it is not tried any more until something changes."""
        return self.attempts >= ATTEMPTS

    def failed(self, now: float, problem: str) -> None:
        """Note an attempt that failed."""
        self.due = now + min(PERIOD * 2**self.attempts, LONGEST)
        self.attempts += 1
        self.problem = printable(problem)

    def delivered(self) -> None:
        """Note that everything was told."""
        self.changes, self.omitted, self.attempts, self.due, self.problem = [], 0, 0, 0.0, ""


@dataclass
class State:
    """What is known of the last run.

    at: when it was, in seconds since the epoch; 0 if there was none. red: detail and since when, by row. number: of the last change. heartbeat: when the last
    one was, and the problem of it. seconds: how long the check took. free: how much was free of each file system, in the last days.
    """

    at: float = 0.0
    seconds: float = 0.0
    number: int = 0
    red: dict[str, dict[str, Any]] = field(default_factory=dict)
    outboxes: dict[str, Outbox] = field(default_factory=dict)
    heartbeat: dict[str, Any] = field(default_factory=dict)
    free: dict[str, list[list[float]]] = field(default_factory=dict)

    def advance(self, now: float, found: dict[str, str], ways: list[str]) -> None:
        """Take what a run found; a change goes to every way out. ways: those that are configured."""
        for name in self.outboxes.keys() - set(ways):
            del self.outboxes[name]
        new = {row: detail for row, detail in found.items() if row not in self.red}
        well = sorted(self.red.keys() - found.keys())
        known = {row: about for row, about in self.red.items() if row in found}
        self.red = {row: {"detail": detail, "since": known.get(row, {}).get("since", now)} for row, detail in found.items()}
        change = {"at": now, "red": new, "well": well}
        for name in ways:
            if name not in self.outboxes:  # it was never told what is red already
                self.outboxes[name] = Outbox()
                if found:
                    self.outboxes[name].add({"at": now, "red": found, "well": []})
            elif new or well:
                self.outboxes[name].add(change)
        self.number += bool(new or well)
        self.at = now


def load() -> State:
    """Return the state; an empty one if there is none that can be read."""
    given = read_json(PATH)
    try:
        outboxes = {name: Outbox(**about) for name, about in given.pop("outboxes", {}).items()}
        return State(**given, outboxes=outboxes)
    except (TypeError, AttributeError):
        return State()


def save(state: State) -> None:
    """Keep the state."""
    write_json(PATH, asdict(state))
