# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who was let in: a record of root's own, which the server cannot write."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

from .. import times
from ..atomic import read_json, write_json
from ..foreign import printable
from ..locks import origin, whoever
from . import configuration

ENROLLED, ADOPTED, RESTORED = "enrolled", "adopted", "restored"


class Entry(NamedTuple):
    """A client that was let in.

    name: what its operator calls it. how: enrolled, adopted or restored. since: seconds since the epoch. by, origin: who let it in, from where.
    """

    name: str
    how: str
    since: float
    by: str
    origin: str

    def __str__(self) -> str:
        day = times.minute(self.since)
        return f"{self.how} {day} by {self.by} from {self.origin}"


def entry(name: str, how: str) -> Entry:
    """Return an entry of now, by the person behind this process."""
    return Entry(name, how, time.time(), printable(whoever()), printable(origin()))


def entries() -> dict[str, Entry]:
    """Return who was let in, by client ID."""
    return {client_id: Entry(**about) for client_id, about in read_json(configuration.RECORD).items()}


def keep(client_id: str, about: Entry, instead_of: Iterable[str] = ()) -> None:
    """Record a client, instead of others."""
    _write({**{key: each for key, each in entries().items() if key not in set(instead_of)}, client_id: about})


def forget(client_ids: Iterable[str]) -> None:
    """Forget clients."""
    gone = set(client_ids)
    _write({key: each for key, each in entries().items() if key not in gone})


def _write(known: dict[str, Entry]) -> None:
    write_json(configuration.RECORD, {client_id: each._asdict() for client_id, each in known.items()})
