# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The trail of events: each line names the hash of the one before it, and checkpoints name how far it had come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..errors import NousVmError
from ..events import FIRST, PREVIOUS
from .chain import Broken, parse, sha256
from .checkpoint import Mark
from .lines import UNREADABLE, lines, opened
from .report import Part


class TrailWalk:
    """Reads the trail once, up to where each checkpoint says that it had come."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.name = path.name if path else "trail.jsonl"
        self.part = Part("trail")
        self.position = self.record = self.compared = self.damaged = 0
        self._head = FIRST
        self._lines = self._read()

    def meet(self, mark: Mark, label: str) -> None:
        """Read up to where a checkpoint had come, and compare."""
        if self.part.fault:
            return
        if self.path is None:
            self.part.fail(self.name, 0, f"{label} signed {mark.size} bytes of it, and it is not here")
            return
        while self.position < mark.size and next(self._lines, False):
            pass
        if self.part.fault:
            return
        if self.position != mark.size:
            short = self.position < mark.size
            self.part.fail(self.name, self.record + short, f"ends here, or is another line, than where {label} signed that it had come")
        elif self._head != mark.head:
            self.part.fail(self.name, self.record, f"is another line than {label} signed")
        else:
            self.compared += 1

    def finish(self) -> None:
        """Read the rest, and say what is to be said."""
        while next(self._lines, False):
            pass
        if self.path is None:
            self.part.note("there is none")
            return
        self.part.note(f"{self.record} events, {self.compared} checkpoints compared")
        if self.damaged:
            self.part.note(f"{self.damaged} lines were cut short while they were written")

    def _read(self) -> Iterator[bool]:
        """Take the lines one by one."""
        if self.path is None:
            return
        try:
            with opened(self.path) as file:
                for line in lines(file):
                    if not line.endswith(b"\n"):
                        self.part.note("the last line is not complete")
                        return
                    self._take(line)
                    yield True
        except (*UNREADABLE, NousVmError) as error:
            self.part.fail(self.name, self.record + 1, str(error))

    def _take(self, line: bytes) -> None:
        content = line.removesuffix(b"\n")
        try:
            event = parse(content)
        except Broken:  # what a full disk cut; the line after it names it as it is
            self.damaged += 1
        else:
            if event.get(PREVIOUS) != self._head:
                raise Broken("does not name the line before it: that one was changed, or is gone")
        self.record += 1
        self.position += len(line)
        self._head = sha256(content)
