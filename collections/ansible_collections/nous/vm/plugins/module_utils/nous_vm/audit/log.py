# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A log and the files that a rotation makes beside it."""

from __future__ import annotations

import os
from pathlib import Path

from .configuration import Configuration
from .records import last_record


class Log:
    """A log, and the paths of what a rotation makes of it.

    On the way to a segment lie NAME.partial (its bytes), NAME.kept (what stays in the log) and NAME.journal (what is to become of the log). NAME.partial
    becomes the segment NAME when the log is cut: with a journal and no partial, there is nothing left to do.
    """

    def __init__(self, config: Configuration, name: str) -> None:
        self.config = config
        self.live = config.directory / name
        self.segment = config.segments / name
        self.partial = config.segments / f"{name}.partial"
        self.kept = config.segments / f"{name}.kept"
        self.journal = config.segments / f"{name}.journal"

    def has_segment(self) -> bool:
        """Tell whether there is a record before the last one."""
        with open(self.live, "rb") as live:
            return last_record(live.fileno(), os.fstat(live.fileno()).st_size) > 0

    def interrupted(self) -> bool:
        """Tell whether a rotation ended after it had written its journal: recover completes it."""
        return self.journal.exists()

    def discard(self) -> None:
        """Remove what an interrupted rotation left before it wrote a journal."""
        for path in (self.partial, self.kept, *self.config.segments.glob(f".{self.live.name}.*.new")):
            path.unlink(missing_ok=True)


def logs_of(config: Configuration) -> list[Log]:
    """Return the logs of a rotation."""
    return [Log(config, name) for name in config.files]


def interrupted(config: Configuration) -> bool:
    """Tell whether recover has to complete a rotation."""
    return any(log.interrupted() for log in logs_of(config))


def left_over(log: Log) -> list[Path]:
    """Return what a rotation that did not come to its end left: a journal for recover, a segment for logrotate."""
    return [path for path in (log.journal, log.segment) if path.exists()]
