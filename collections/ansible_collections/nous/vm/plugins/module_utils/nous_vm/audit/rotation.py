# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rotation of the logs of a configuration: what rotate and recover do, and what status prints."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .. import events, inodes
from ..atomic import sync_directory
from ..cgroups import frozen, of_units
from ..errors import NousVmError
from ..processes import writers
from . import journal
from .access import reject_others, reject_overwriters
from .archives import archives, flip, mutable, protect
from .configuration import Configuration
from .cut import complete, cut, is_cut, overwritten, take_back
from .freeze import GaveUp, Pause, held_frozen, thaw
from .journal import Journal
from .log import Log, logs_of
from .segment import Copy, discard
from .speed import learn
from .steps import Steps
from .walks import Walks, watched

TRIES = 3  # rotations that are given up in a row until that is a failure
AGAIN = 2.0  # seconds between them
WALK = 60.0  # seconds in which the server has to be found without a walk through its archives under way
QUIET = 10.0  # seconds that one of them is waited for


class Walking(NousVmError):
    """The server is reading its archives."""


def interrupted(config: Configuration) -> bool:
    """Tell whether recover has to complete a rotation."""
    return any(journal.read(log) for log in logs_of(config))


class Rotation:
    """The logs of one configuration."""

    def __init__(self, config: Configuration, steps: Steps) -> None:
        self.config = config
        self.steps = steps
        self.logs = logs_of(config)

    def rotate(self) -> None:
        """Make an archive of every log that has one to give."""
        self.recover()
        if not (logs := [log for log in self.logs if self._due(log)]):
            return
        with self._copies(logs) as copies:
            for attempt in range(1, TRIES + 1):
                try:
                    self._rotate(copies)
                    break
                except GaveUp as error:
                    for copy in copies:
                        journal.reset(copy.log)
                    self.steps.add("give up", str(error))
                    if attempt == TRIES:
                        events.record("rotation given up", "failed", why=str(error))
                        raise NousVmError(f"given up {TRIES} times in a row: {error}") from error
                    time.sleep(AGAIN)
            for log in logs:
                self._look_again(log)

    def recover(self) -> None:
        """Complete what was interrupted, or take it back, set the flags, thaw; change nothing when all is well."""
        try:
            for log in self.logs:
                if found := journal.read(log):
                    self._recover(log, *found)
        finally:
            for log in self.logs:
                if not journal.read(log):
                    discard(log)
                if not inodes.change(log.live, on=inodes.APPEND_ONLY) & inodes.APPEND_ONLY:
                    self.steps.add("append-only", f"{log.live}")
                protect(log, self.steps)
            thaw(self.config, of_units(self.config.units), self.steps)

    def status(self) -> dict[str, Any]:
        """Return how the logs, their archives and their units are, with what is wrong as sentences."""
        problems = [f"{unit} is frozen" for unit in frozen(of_units(self.config.units))]
        logs = []
        for log in self.logs:
            loose = [path.name for path in mutable(log)]
            about = {
                f"{log.live} is not append-only": not inodes.flags(log.live) & inodes.APPEND_ONLY,
                f"not immutable: {', '.join(loose)}": bool(loose),
                f"{log.journal} is to be completed by recover": journal.read(log) is not None,
            }
            problems += [sentence for sentence, true in about.items() if true]
            holders = [str(each) for each in writers(log.live)]
            logs.append({"path": str(log.live), "bytes": log.live.stat().st_size, "archives": len(archives(log)), "writers": holders})
        return {"name": self.config.name, "healthy": not problems, "problems": problems, "logs": logs}

    def _due(self, log: Log) -> bool:
        """Tell whether an archive can be made of a log."""
        if log.has_segment():
            return True
        self.steps.add("nothing", f"{log.live} holds no record before its last one")
        return False

    @contextmanager
    def _copies(self, logs: list[Log]) -> Iterator[list[Copy]]:
        """Copy most of the logs; in the end remove what did not become an archive."""
        copies = [Copy(log, self.steps) for log in logs]
        try:
            for copy in copies:
                copy.prepare()
                reject_overwriters(copy.log.live, writers(copy.log.live))
            yield copies
        finally:
            for copy in copies:
                copy.close()
                if not journal.read(copy.log):
                    discard(copy.log)

    def _rotate(self, copies: list[Copy]) -> None:
        """Freeze, copy the tail, cut, rename and thaw."""

        def ready() -> None:
            for copy in copies:
                copy.bulk()
            walks.wait(QUIET)

        deadline = time.monotonic() + WALK
        with watched(self.config.directory, self.config.files) as walks:
            while True:
                try:
                    with held_frozen(self.config, self.steps, ready) as pause:
                        milliseconds = self._frozen(copies, walks, pause)
                        thawed = pause.thawed()
                    break
                except Walking as error:
                    if time.monotonic() > deadline:
                        raise GaveUp(f"{error}, whenever its units were frozen within {WALK:g} s") from error
        for copy, took in zip(copies, milliseconds, strict=True):
            self._settle(copy.log, copy.copied, "rotated", pause.milliseconds, took)
            learn(copy.log, copy.copied, took)
        if thawed:
            events.record("thawed too early", "failed", units=thawed)
            raise NousVmError(f"{thawed} was thawed by somebody else while the log was cut: compare the log with a copy")

    def _look_again(self, log: Log) -> None:
        """Name who opened the log while it was not append-only: a process of its group that started outside the units in just that moment."""
        try:
            reject_overwriters(log.live, writers(log.live))
        except NousVmError as error:
            events.record("log can be overwritten", "failed", why=str(error))
            raise

    def _frozen(self, copies: list[Copy], walks: Walks, pause: Pause) -> list[float]:
        """Do all that has to be done while the units are frozen; return the milliseconds of each cut."""
        cgroups = pause.still()
        if walks.under_way() or walks.holders(cgroups.values()):
            raise Walking("the server is reading its archives")
        for copy in copies:
            reject_others(copy.log, cgroups)
        tails = [copy.tail() for copy in copies]
        pause.still()  # the last moment to give up
        took = [cut(copy.log, *tail, pause.held, self.steps) for copy, tail in zip(copies, tails, strict=True)]
        for copy in copies:
            flip(copy.log, copy.moves)
        return took

    def _recover(self, log: Log, written: Journal, kept: bytes) -> None:
        """Bring the rotation of one log to its end if it was cut; else have it as it was."""
        journal.verify(log, written)
        reject_overwriters(log.live, writers(log.live))
        done = is_cut(log, written, kept)
        before = b"" if done else overwritten(log, kept)
        if done or before:
            with held_frozen(self.config, self.steps) as pause:
                reject_others(log, pause.still())
                if done:
                    complete(log, kept, pause.held, self.steps)
                    flip(log, written.moves)
                else:
                    take_back(log, before, pause.held, self.steps)
        if done:
            self._settle(log, written.cut, "recovered", pause.milliseconds)
        else:
            log.journal.unlink()
            self.steps.add("drop", f"{log.journal}: {log.live} was not cut, and is rotated another time")

    def _settle(self, log: Log, size: int, event: str, pause_ms: float, cut_ms: float | None = None) -> None:
        """Have the new names on the disk, remove what is not needed any more, and record it; the units run again."""
        sync_directory(self.config.segments)
        sync_directory(self.config.directory)
        log.journal.unlink()
        discard(log)
        self.steps.add("archive", f"{log.archive(1)}, {size} bytes")
        events.record(
            event, log=str(log.live), segment_bytes=size, log_bytes=log.live.stat().st_size, pause_ms=round(pause_ms), cut_ms=cut_ms and round(cut_ms)
        )
