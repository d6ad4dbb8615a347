# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations as an operator types them: a number and a unit, such as 10m."""

from __future__ import annotations

import re

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}  # seconds


def seconds(text: str, units: str) -> int | None:
    """Return a duration in seconds; None if it is none. units: those that are allowed, a letter each."""
    found = re.fullmatch(rf"([1-9][0-9]{{0,5}})([{units}])", text)
    return int(found[1]) * UNITS[found[2]] if found else None
