# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why the local proxy lets nobody in: a set of reasons, each with an owner. Traffic flows when the set is empty; each owner clears its own alone.

A reason holds requests (they wait where they are) or rejects them (503 at once). The set lies in /run, so that nothing in it outlives a boot unseen.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from . import times
from .atomic import own_directory, write
from .errors import ForeignError, UsageError
from .foreign import read_json
from .names import RUNTIME

FOLDER = RUNTIME / "pause"
UNAUDITED = RUNTIME / "unaudited.json"
GUARD = "audit-guard"  # the owner of the reason that answers would not be recorded


class Reason(NamedTuple):
    """Why traffic is paused.

    owner: who set it, and may clear it (deployment, guard, a person's name). reject: answer 503 instead of letting requests wait.
    since, until: seconds since the epoch; until 0 is for as long as the owner leaves it. why: one sentence.
    """

    owner: str
    why: str
    since: float
    reject: bool = False
    until: float = 0.0

    def __str__(self) -> str:
        when = times.second(self.since)
        return f"{'rejected' if self.reject else 'held'} by {self.owner} since {when}: {self.why}"


def reasons(now: float | None = None) -> list[Reason]:
    """Return the reasons that count, the oldest first; those whose time is over do not."""
    at = time.time() if now is None else now
    found = []
    for path in FOLDER.glob("[!.]*.json"):
        try:
            found.append(Reason(**read_json(path)))
        except (OSError, ForeignError, TypeError):  # one that is being cleared, or not ours
            continue
    return sorted((each for each in found if not each.until or each.until > at), key=lambda each: each.since)


def add(owner: str, why: str, *, reject: bool = False, seconds: float = 0) -> Reason:
    """Add a reason, or replace the owner's own; have the proxy act on it afterwards."""
    now = time.time()
    reason = Reason(owner, why, now, reject, now + seconds if seconds else 0.0)
    for folder in (RUNTIME, FOLDER):
        os.close(own_directory(folder))
    write(_path(owner), json.dumps(reason._asdict()).encode())
    return reason


def clear(owner: str) -> bool:
    """Clear the reason of an owner; return whether there was one."""
    try:
        os.unlink(_path(owner))
    except FileNotFoundError:
        return False
    return True


def allow_unaudited(why: str, seconds: float) -> None:
    """Let answers go out for a time although they are not recorded: the guard of the audit log sets no reason until then."""
    for folder in (RUNTIME, FOLDER):
        os.close(own_directory(folder))
    write(UNAUDITED, json.dumps({"why": why, "until": time.time() + seconds}).encode())


def unaudited(now: float | None = None) -> tuple[str, float] | None:
    """Return why and until when answers may go out that are not recorded; None if they may not."""
    try:
        found = read_json(UNAUDITED)
        why, until = str(found["why"]), float(found["until"])
    except (OSError, ForeignError, KeyError, TypeError, ValueError):
        return None
    return (why, until) if until > (time.time() if now is None else now) else None


def _path(owner: str) -> Path:
    if not owner.replace("-", "").replace("_", "").isalnum():
        raise UsageError(f"{owner!r} is no owner of a pause; allowed are letters, digits, - and _, for example alice")
    return FOLDER / f"{owner}.json"
