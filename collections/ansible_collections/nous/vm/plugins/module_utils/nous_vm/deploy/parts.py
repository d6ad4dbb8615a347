# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the parts of a deployment take."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Parts:
    """The parts that were begun, each with its seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.since: float | None = None

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measure what is done within."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0) + time.monotonic() - began, 2)

    def pause(self) -> None:
        """From now on traffic is paused."""
        self.since = time.monotonic()

    def resume(self) -> None:
        """From now on it is not."""
        if self.since is not None:
            self.seconds["paused"] = round(time.monotonic() - self.since, 2)
            self.since = None
