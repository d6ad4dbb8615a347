# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a verification found, part by part: what is whole, and of what is not, where its first fault is."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..foreign import printable


class Fault(NamedTuple):
    """The first fault of a part. segment: the name of a file. record: the number of a line in it, from 1 on."""

    segment: str
    record: int
    sentence: str


class Part:
    """A log, the anchors, the trail or the checkpoints. fault: the first one that was found."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fault: Fault | None = None
        self.notes: list[str] = []

    def fail(self, segment: str, record: int, sentence: str) -> None:
        """Keep a fault, unless there is one: what comes after the first one often follows from it."""
        self.fault = self.fault or Fault(printable(segment), record, printable(sentence))

    def note(self, sentence: str) -> None:
        """Keep what is worth to know and is no fault."""
        self.notes.append(printable(sentence))

    def document(self) -> dict[str, Any]:
        """Return it as --json prints it."""
        about: dict[str, Any] = {"part": self.name, "whole": self.fault is None, "notes": self.notes}
        return about | (self.fault._asdict() if self.fault else {})

    def line(self) -> str:
        """Return it as a person reads it."""
        if self.fault is None:
            return f"whole   {self.name}: {'; '.join(self.notes)}"
        return f"BROKEN  {self.name}: {self.fault.segment}, record {self.fault.record}: {self.fault.sentence}"
