# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One deadline for all that a deployment waits for, known or not: questions, programs, copies, locks. A stop of its unit ends it the same way."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

AGAIN = 1.0  # seconds after which it is raised again, if whoever it reached first could not pass it on


class Ended(BaseException):
    """What is under way has to end now; the text says why. It is no Exception, so that nothing on its way takes it for a fault of its own."""


class Deadline:
    """Raise Ended in the main thread, whatever it waits for, once so many seconds are over or SIGTERM comes; neither counts any more once it is lifted."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.lifted = seconds, False
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Deadline:
        self.before = {number: signal.signal(number, self._end) for number in (signal.SIGALRM, signal.SIGTERM)}
        signal.setitimer(signal.ITIMER_REAL, self.seconds, AGAIN)
        return self

    def __exit__(self, *_error: object) -> None:
        self.lift()
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def lift(self) -> None:
        """Let what comes now take the time that it needs."""
        self.lifted = True
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _end(self, number: int, _frame: FrameType | None) -> None:
        if not self.lifted:
            raise Ended("it was stopped" if number == signal.SIGTERM else f"it did not end within {self.seconds:g} s")
