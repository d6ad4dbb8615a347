# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of networks that was fetched last, and is in service."""

from __future__ import annotations

from typing import NamedTuple

from .. import atomic
from ..names import STATE

STATE_FILE = STATE / "gate-list.json"


class Listed(NamedTuple):
    """The list as it was fetched last. fetched: seconds since the epoch."""

    url: str
    networks: list[str]
    fetched: float


def current() -> Listed | None:
    """Return the list that is in service."""
    return atomic.read_as(Listed, STATE_FILE)


def keep(made: Listed) -> None:
    """Keep what is in service from now on."""
    atomic.write_json(STATE_FILE, made._asdict())


def networks() -> list[str]:
    """Return the networks that the list in service adds."""
    known = current()
    return known.networks if known else []
