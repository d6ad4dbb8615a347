# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers what the roles ask of a host, by reading alone.

Each question has a limit of time; one that breaks or is late fails by itself. A role adds a question to QUESTIONS; those in ASIDE are answered while the
others are. This package is private to the collection.
"""

from __future__ import annotations

import functools
import signal
import threading
import time
import typing as t
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..nous_vm.deploy.facts import facts
from ..nous_vm.egress.resolvers import resolvers
from ..nous_vm.foreign import printable
from ..nous_vm.gateway.state import state
from . import disk, system
from .adoption import bundle

LIMIT = 60.0  # seconds that one question gets, with all that is answered meanwhile: a slow machine of one core needs 20


def keys(asked: list[dict[str, t.Any]]) -> list[dict[str, t.Any]]:
    """As keys.keys, whose library takes a tenth of a second to import, and which few roles ask for."""
    from .keys import keys

    return keys(asked)


QUESTIONS: dict[str, Callable[[t.Any], t.Any]] = {
    "packages": system.packages,
    "accounts": system.accounts,
    "groups": system.groups,
    "ports": system.ports,
    "pythons": system.pythons,
    "units": system.units,
    "calendars": system.calendars,
    "elapses": system.elapses,
    "resolvers": lambda _asked: resolvers(),
    "space": disk.space,
    "matches": disk.matches,
    "flags": disk.flags,
    "keys": keys,
    "server": lambda asked: facts(asked["root"]),
    "bundle": bundle,
    "gateway": lambda asked: state(Path(asked["config"])),
}

# What mostly waits for a program, the longest first.
ASIDE = ("server", "units", "gateway", "calendars", "elapses")


class TooLate(Exception):
    """A question was not answered in time. It is no OSError, which much takes for an answer."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise TooLate in what runs meanwhile when the time is over."""

    def late(_signal: int, _frame: object) -> None:
        raise TooLate(f"no answer within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Aside(threading.Thread):
    """A question that is answered meanwhile, by a thread of its own, which ends with the module."""

    def __init__(self, ask: Callable[[], t.Any], limit: float) -> None:
        super().__init__(daemon=True)
        self.ask, self.limit, self.until = ask, limit, time.monotonic() + limit
        self.found: t.Any = None
        self.error: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            self.found = self.ask()
        except Exception as error:  # noqa: BLE001 - it is raised again where the answer is wanted
            self.error = error

    def __call__(self) -> t.Any:
        """Return the answer, when it is there; raise what broke the question, or TooLate."""
        self.join(max(self.until - time.monotonic(), 0))
        if self.is_alive():
            raise TooLate(f"no answer within {self.limit:g} s")
        if self.error:
            raise self.error
        return self.found


def answers(questions: dict[str, t.Any], key: bytes, limit: float = LIMIT) -> dict[str, t.Any]:
    """Return the answers by question, the platform, and under "failed" why others have none. key: what digests of files are keyed with."""
    asked: dict[str, Callable[[], t.Any]] = {"platform": system.platform, "paths": lambda: disk.paths(questions.get("paths", []), key)}
    for name, about in questions.items():
        if name in QUESTIONS:
            asked[name] = functools.partial(QUESTIONS[name], about)
    found: dict[str, t.Any] = {"failed": {name: "unknown to this probe" for name in questions if name not in asked}}
    for name in ASIDE:
        if name in asked:  # it is the last then, whose answer is waited for
            asked[name] = Aside(asked.pop(name), limit)
    for name, ask in asked.items():
        try:
            with limited(limit):
                found[name] = ask()
        except Exception as error:  # noqa: BLE001 - whatever breaks one question, the others are still to be answered
            found["failed"][name] = printable(str(error) or type(error).__name__)
    return found
