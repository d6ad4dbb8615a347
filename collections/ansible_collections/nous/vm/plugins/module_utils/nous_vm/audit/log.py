# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A log and the files that a rotation makes beside it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .configuration import Configuration
from .records import last_record


class Log:
    """A log, and the paths of what a rotation makes of it.

    On the way to an archive lie in .segment, where no verifier looks: NAME.partial (the copy of the log), NAME.packed (the archive 1, compressed), NAME.journal
    (what is to become of the log), and for a moment what was compressed or is beyond the retention.
    """

    def __init__(self, config: Configuration, name: str) -> None:
        self.config = config
        self.live = config.directory / name
        self.partial = config.segments / f"{name}.partial"
        self.packed = config.segments / f"{name}.packed"
        self.journal = config.segments / f"{name}.journal"
        self.speed = config.segments / f"{name}.speed"

    def archive(self, number: int, suffix: str = "") -> Path:
        """Return the path of an archive by its number."""
        return self.live.with_name(f"{self.live.name}.{number}{suffix}")

    def has_segment(self) -> bool:
        """Tell whether there is a record before the last one."""
        with open(self.live, "rb") as live:
            return last_record(live.fileno(), os.fstat(live.fileno()).st_size) > 0

    def left_over(self) -> list[Path]:
        """Return what a rotation that did not come to its end left, or needs no more."""
        pattern = re.compile(rf"{re.escape(self.live.name)}\.(partial|packed|journal|gone\.[0-9]+)")
        return sorted(path for path in self.config.segments.glob("*") if pattern.fullmatch(path.name))


def logs_of(config: Configuration) -> list[Log]:
    """Return the logs of a rotation."""
    return [Log(config, name) for name in config.files]
