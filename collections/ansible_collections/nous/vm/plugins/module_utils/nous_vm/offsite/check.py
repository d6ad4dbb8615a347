# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the health check on the backups off this host."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import times
from ..atomic import read_json
from ..health import Row, permissions, sandbox
from ..systemd import show
from .configuration import RECORD, TIMER, UNIT, Configuration, last, load

DAY = 86400.0
MINUTE = 60.0
FENCED_FOR = 30 * DAY  # how long a person is told that the host before has to be stopped


def check() -> Iterator[Row]:
    """Yield a row for everything that is looked at."""
    about, known, now = load(), last(), time.time()
    timer = show(TIMER, "ActiveState", "UnitFileState", "NextElapseUSecRealtime")
    healthy = timer.get("ActiveState") == "active" and timer.get("UnitFileState") == "enabled"
    yield Row("backup timer", "ok" if healthy else "fail", f"next {timer.get('NextElapseUSecRealtime') or 'never'}")
    yield backup(about, known, now)
    yield repository(about, known, now)
    yield drill(about, known, now)
    yield Row("backup password", *permissions(Path(about.password), "0600 root:root"))
    yield sandbox(UNIT, about.score)
    yield from restored(now)


def backup(about: Configuration, known: dict[str, Any], now: float) -> Row:
    """Return the row on the newest backup: what a host that is lost now would lose."""
    found, failure = known.get("backup"), known.get("failure")
    detail = f"; the last attempt, at {times.minute(failure['at'])}, failed: {failure['why']}" if failure else ""
    if not found:
        return Row("backup", "fail" if failure else "warn", f"none was made yet{detail}")
    age = (now - found["at"]) / MINUTE
    detail = f"of {times.minute(found['at'])}, {age:.0f} min old, at most {about.most} allowed; took {found['seconds']} s{detail}"
    return Row("backup", "fail" if age > about.most else "warn" if failure else "ok", detail)


def repository(about: Configuration, known: dict[str, Any], now: float) -> Row:
    """Return the row on the check of the repository."""
    at = known.get("check", {}).get("at")
    late = at is None or now - at > 2 * about.check_days * DAY
    return Row("repository", "warn" if late else "ok", f"checked {times.minute(at)}" if at else "was not checked yet")


def drill(about: Configuration, known: dict[str, Any], now: float) -> Row:
    """Return the row on whether a host was made of a backup lately."""
    found = known.get("drill")
    if not found:
        return Row("drill", "warn", "never tried: sudo nous-vm backup drill restores the newest backup into a scratch folder and verifies it")
    if not found["ok"]:
        return Row("drill", "fail", f"failed at {times.minute(found['at'])}: {found['why']}")
    detail = f"{times.minute(found['at'])}, of the backup of {times.minute(found['of'])}, took {found['seconds']} s"
    return Row("drill", "warn" if now - found["at"] > about.drill_days * DAY else "ok", detail)


def restored(now: float) -> Iterator[Row]:
    """Yield the row on the host that this one was made of, if it was."""
    if found := read_json(RECORD):
        status = "warn" if now - found["at"] < FENCED_FOR else "ok"
        before = f"made at {times.minute(found['at'])} of the backup of {times.minute(found['of'])} of {found['host']} (machine {found['machine']})"
        yield Row("restored", status, f"{before}; that host has to stay off")
