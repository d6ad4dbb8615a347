# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rotation of the logs of a configuration: what rotate, unlock and recover do, and what status prints."""

from __future__ import annotations

from typing import Any

from .. import events, inodes
from ..cgroups import frozen, of_units
from ..processes import writers
from .access import reject_others, reject_overwriters
from .archives import archives, drop_incomplete, mutable, protect, unlock
from .configuration import Configuration
from .cut import finish, settle
from .freeze import held_frozen, thaw
from .log import Log, logs_of
from .segment import Copy
from .steps import Steps


class Rotation:
    """The logs of one configuration."""

    def __init__(self, config: Configuration, steps: Steps) -> None:
        self.config = config
        self.steps = steps
        self.logs = logs_of(config)

    def rotate(self) -> None:
        """Make a segment of every log that has one to give."""
        self.recover()
        logs = self._due()
        if not logs:
            return
        try:
            self._cut([Copy(log, self.steps) for log in logs])
            for log in logs:
                reject_overwriters(log.live, writers(log.live))
        finally:
            for log in logs:
                if not log.interrupted():
                    log.discard()

    def unlock(self) -> None:
        """Lift the immutable flag from the archives, for logrotate."""
        for log in self.logs:
            unlock(log, self.steps)

    def recover(self) -> None:
        """Complete what was interrupted, set the flags, thaw; change nothing when all is well."""
        try:
            if pending := [log for log in self.logs if log.interrupted()]:
                for log in pending:
                    reject_overwriters(log.live, writers(log.live))
                with held_frozen(self.config, self.steps) as pause:
                    for log in pending:
                        reject_others(log, pause.still())
                        finish(log, pause.still, verify=True, steps=self.steps)
                self._settle(pending, pause.milliseconds, "recovered")
        finally:
            for log in self.logs:
                if not log.interrupted():
                    log.discard()
                if not inodes.change(log.live, on=inodes.APPEND_ONLY) & inodes.APPEND_ONLY:
                    self.steps.add("append-only", f"{log.live}")
                protect(log, self.steps)
            thaw(self.config, of_units(self.config.units), self.steps)
        for log in self.logs:
            drop_incomplete(log, self.steps)

    def status(self) -> dict[str, Any]:
        """Return how the logs, their archives and their units are, with what is wrong as sentences."""
        problems = [f"{unit} is frozen" for unit in frozen(of_units(self.config.units))]
        logs = []
        for log in self.logs:
            loose = [path.name for path in mutable(log)]
            about = {
                f"{log.live} is not append-only": not inodes.flags(log.live) & inodes.APPEND_ONLY,
                f"not immutable: {', '.join(loose)}": bool(loose),
                f"{log.journal} is to be completed by recover": log.interrupted(),
                f"{log.segment} is not archived yet": log.segment.exists(),
            }
            problems += [sentence for sentence, true in about.items() if true]
            holders = [str(each) for each in writers(log.live)]
            logs.append({"path": str(log.live), "bytes": log.live.stat().st_size, "archives": len(archives(log)), "writers": holders})
        return {"name": self.config.name, "healthy": not problems, "problems": problems, "logs": logs}

    def _due(self) -> list[Log]:
        """Return the logs that a segment can be made of."""
        found = []
        for log in self.logs:
            if log.segment.exists():
                self.steps.add("wait", f"{log.segment} is still to be archived; {log.live} is rotated after it")
            elif not log.has_segment():
                self.steps.add("nothing", f"{log.live} holds no record before its last one")
            else:
                found.append(log)
        return found

    def _cut(self, copies: list[Copy]) -> None:
        """Copy, freeze, cut and thaw."""
        for copy in copies:
            copy.bulk()
            reject_overwriters(copy.log.live, writers(copy.log.live))
        with held_frozen(self.config, self.steps) as pause:
            for copy in copies:
                reject_others(copy.log, pause.still())
                copy.tail()
                finish(copy.log, pause.still, verify=False, steps=self.steps)
        self._settle([copy.log for copy in copies], pause.milliseconds, "rotated")

    def _settle(self, logs: list[Log], milliseconds: float, event: str) -> None:
        """Give the segments their names, and record it; the units run again."""
        for log in logs:
            size = settle(log, self.steps)
            events.record(event, log=str(log.live), segment_bytes=size, log_bytes=log.live.stat().st_size, pause_ms=round(milliseconds))
