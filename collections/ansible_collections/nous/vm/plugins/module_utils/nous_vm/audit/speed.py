# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long the cut of a log takes, which depends on its size and the disk alone: a log whose cut would take too long is rotated before its time."""

from __future__ import annotations

from ..atomic import read_json, write_json
from .log import Log

CUT = 300.0  # milliseconds that a cut may take
LEAST, MOST = 64 << 20, 1 << 30  # bytes: a log that is smaller is never too large, one that is larger always
TOLD = 16 << 20  # bytes of a cut that tells how fast the disk is


def learn(log: Log, size: int, milliseconds: float) -> None:
    """Keep how long a cut took, if it was of a log that is large enough."""
    if size >= TOLD:
        write_json(log.speed, {"bytes": size, "milliseconds": milliseconds})


def largest(log: Log) -> int:
    """Return the bytes of a log whose cut is expected to take as long as it may."""
    last = read_json(log.speed)
    try:
        expected = int(CUT * last["bytes"] / max(last["milliseconds"], 1.0))
    except (KeyError, TypeError):
        return MOST
    return min(max(expected, LEAST), MOST)
