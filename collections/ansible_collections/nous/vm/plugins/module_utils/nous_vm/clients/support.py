# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a support bundle must not have of the clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .configuration import PENDING, load


def secrets() -> Iterator[Path]:
    """Yield the server's files on clients and tokens, and the enrolment that is open, which keeps the clients from before it."""
    yield from sorted(load().directory.glob("*.json"))
    yield PENDING


def folders() -> Iterator[Path]:
    yield load().directory
