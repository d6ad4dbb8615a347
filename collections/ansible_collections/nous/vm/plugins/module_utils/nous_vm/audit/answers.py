# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers held against records: the local proxy counts the calls of tools that it saw answered, the watcher the records that came.

A call that the server declines before it runs the tool (one that there is not, arguments that do not fit) is answered and has no record: a few answers without
one are no proof of anything. What is returned here never says that an answer was recorded when it was not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Calls(NamedTuple):
    """The calls of tools that the proxy saw answered since it was started, and those under way."""

    answered: int
    under_way: int


class Answers:
    """What was answered and what was recorded. read: asks the proxy; raises OSError where there is none."""

    def __init__(self, read: Callable[[], Calls]) -> None:
        self.read = read
        self.now: Calls | None = None
        self.records = 0
        self.fresh = False  # nothing was told since the proxy was asked
        self.since: tuple[Calls, int] | None = None  # when the last record was seen to come
        self.since_record: int | None = None  # calls that were answered since then, at least; None if nobody counts
        self.well: tuple[int, int] | None = None  # when all was well

    def count(self) -> None:
        """Ask the proxy. It is asked before the watcher: what was recorded in between counts as not recorded, and not the other way round."""
        try:
            self.now, self.fresh = self.read(), True
        except (OSError, ValueError):  # it is away, or being replaced: it begins at 0
            self.now = None
            self.forget()

    def told(self, records: int, well: bool) -> None:
        """Take how many records the watcher has seen, and whether all is well."""
        self.records = records
        if not self.now or not self.fresh:
            return
        self.fresh = False
        if not self.since or records != self.since[1] or self.now.answered < self.since[0].answered:
            self.since = self.now, records
        before = self.since[0]
        self.since_record = max(self.now.answered - before.answered - before.under_way, 0)
        if well:
            self.well = self.now.answered, records

    def unrecorded(self) -> int | None:
        """Return how many answers have left without a record since all was well, at most; None if nobody counts."""
        if not self.now or not self.well:
            return None
        answered, records = self.well
        return max(self.now.answered - answered - max(self.records - records, 0), 0)

    def forget(self) -> None:
        """Count from now on."""
        self.since = self.well = self.since_record = None
