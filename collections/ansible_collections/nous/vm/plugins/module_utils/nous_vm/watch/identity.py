# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is this still the machine that it was? A copy of a disk is two servers with one key and one log, and only its machine tells them apart.

The watch remembers the machine in its first run; a check compares and writes nothing. A person decides what becomes of a difference.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from .. import times
from ..atomic import read_as, write_json
from ..health import Row
from ..machine import Machine, machine
from .configuration import FOLDER

PATH = FOLDER / "machine.json"
DECIDE = "sudo nous-vm identity keep if it is the same host, sudo nous-vm identity renew if the other one lives on"


class Known(NamedTuple):
    """The machine that is remembered, and since when."""

    machine_id: str
    product_uuid: str
    at: float

    @property
    def machine(self) -> Machine:
        return Machine(self.machine_id, self.product_uuid)


def remembered() -> Known | None:
    """Return the machine that is remembered; None if none is, or what is there cannot be read."""
    return read_as(Known, PATH)


def remember(now: Machine) -> None:
    """Remember a machine as the one of this host."""
    write_json(PATH, now._asdict() | {"at": time.time()})


def learn() -> None:
    """Remember this machine if none is remembered, or what was not known of it before."""
    known, now = remembered(), machine()
    if known is None:
        if any(now) and not PATH.exists():
            remember(now)
    elif not changed(known.machine, now) and any(new and not old for old, new in zip(known.machine, now, strict=True)):
        remember(now)


def changed(before: Machine, now: Machine) -> set[str]:
    """Return what differs between two machines, of what is known of both."""
    return {name for name, old, new in zip(Machine._fields, before, now, strict=True) if old and new and old != new}


def judged(before: Machine, now: Machine) -> tuple[str, str]:
    """Return status and detail of the row: red if everything that is known of both differs."""
    differs = changed(before, now)
    same = {name for name, old, new in zip(Machine._fields, before, now, strict=True) if old and old == new}
    if "machine_id" in differs and not same:
        return "fail", f"this is another machine than the one whose key and log it has ({_both(before, now, differs)}); {DECIDE}"
    if differs:
        why = "its machine-id was made anew" if "machine_id" in differs else "it was moved to other hardware, or is a copy of a disk"
        return "warn", f"{why} ({_both(before, now, differs)}); {DECIDE}"
    return ("ok", "") if same else ("unknown", "neither its machine-id nor the UUID of its hardware can be read")


def _both(before: Machine, now: Machine, names: set[str]) -> str:
    """Return what differs, each by its first digits: a row may be told to others."""
    pairs = [(name, getattr(now, name)[:8], getattr(before, name)[:8]) for name in Machine._fields if name in names]
    return ", ".join(f"{name.replace('_', '-')} {new} instead of {old}" for name, new, old in pairs)


def check() -> Row:
    """Return the row."""
    known = remembered()
    if known is None:
        broken = PATH.exists()
        return Row("machine", "warn" if broken else "ok", f"{PATH} cannot be read; {DECIDE}" if broken else "the next run of the watch remembers it")
    status, detail = judged(known.machine, machine())
    return Row("machine", status, detail or f"as remembered since {times.minute(known.at)}")
