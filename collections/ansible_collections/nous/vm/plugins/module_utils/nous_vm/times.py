# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moments as text, in UTC: as documents have them, and as people read them. Each is given in seconds since the epoch; now by default."""

from __future__ import annotations

import time


def iso(at: float | None = None) -> str:
    """Return a moment as RFC 3339 has it, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", _utc(at))


def second(at: float | None = None) -> str:
    """Return a moment for people, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", _utc(at))


def minute(at: float | None = None) -> str:
    """Return a moment for people, to the minute."""
    return time.strftime("%Y-%m-%d %H:%M UTC", _utc(at))


def _utc(at: float | None) -> time.struct_time:
    return time.gmtime() if at is None else time.gmtime(at)
