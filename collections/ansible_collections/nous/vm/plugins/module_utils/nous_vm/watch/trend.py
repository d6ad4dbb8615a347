# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a file system will have room, by how much of it was free in the last days: the line that fits best."""

from __future__ import annotations

DAY = 86400.0
EVERY = 3600.0  # seconds between two looks that are kept
KEPT = 72  # looks
LEAST = 6  # that say something
MOST = 3650.0  # days; who has more has no end in sight


def add(looks: list[list[float]], now: float, free: float) -> list[list[float]]:
    """Return the looks, each a time and the bytes that were free, with one more if the last is old enough."""
    if looks and now - looks[-1][0] < EVERY:
        return looks
    return [*looks, [now, free]][-KEPT:]


def days_left(looks: list[list[float]]) -> float | None:
    """Return after how many days nothing will be free; None if it does not become less, or too little is known."""
    if len(looks) < LEAST:
        return None
    times, free = [at for at, _free in looks], [room for _at, room in looks]
    mean_time, mean_free = sum(times) / len(times), sum(free) / len(free)
    spread = sum((at - mean_time) ** 2 for at in times)
    slope = sum((at - mean_time) * (room - mean_free) for at, room in looks) / spread if spread else 0.0
    if slope >= 0:
        return None
    return round(min(free[-1] / -slope / DAY, MOST), 2)
