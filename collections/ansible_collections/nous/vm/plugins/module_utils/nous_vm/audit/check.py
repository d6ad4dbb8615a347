# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of the health check on append-only logs and their rotation, for each rotation by its name."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from .. import inodes, pause
from ..atomic import read_json
from ..cgroups import frozen, of_units, running
from ..health import Row, permissions, sandbox
from ..processes import writers
from ..systemd import show
from . import checkpoint_rows
from .access import inside
from .archives import archives, mutable
from .configuration import Configuration, everything
from .guard import state_file
from .log import logs_of

WELL = "each record links to the one before, and there is room for the next on a disk without errors"
SCORE = 1.6  # the most that systemd-analyze security may give a unit of the rotation


def check() -> Iterator[Row]:
    """Yield a row for every expectation."""
    for config in everything():
        for row in (*_rows(config), *checkpoint_rows.rows(config)):
            yield row._replace(name=f"{row.name} ({config.name})")
        guarded = () if config.guard == "off" else ("-guard", "-watch", "-mend")
        for suffix in ("", "-recover", *guarded):
            yield sandbox(f"audit-logrotate-{config.name}{suffix}.service", SCORE)


def _rows(config: Configuration) -> Iterator[Row]:
    for name in config.files + config.anchors:
        yield from _log_rows(config, config.directory / name)
    yield _writer_row(config)
    yield from _unit_rows(f"audit-logrotate-{config.name}")
    yield from _archive_rows(config)
    if config.guard != "off":
        yield from _guard_rows(config)


def _log_rows(config: Configuration, log: Path) -> Iterator[Row]:
    """Yield the rows on a log or on an anchor file."""
    if not log.exists():
        yield Row(log.name, "fail", f"{log} does not exist")
        return
    append_only = inodes.flags(log) & inodes.APPEND_ONLY
    yield Row(f"{log.name} append-only", "ok" if append_only else "fail", f"{log} {'can' if append_only else 'could do more than'} grow")
    yield Row(f"{log.name} owner and mode", *permissions(log, config.permissions))
    found = writers(log)
    bad = [str(each) for each in found if not each.appends]
    yield Row(f"{log.name} writers append", "fail" if bad else "ok", ", ".join(bad) or f"{len(found)} hold it open, with O_APPEND")


def _writer_row(config: Configuration) -> Row:
    """Return the row on whether the service writes to the log, and not past it.

    A service may open its log at its first record only. Whether that should have come by now, the guard knows, where the local proxy counts calls.
    """
    name = "service holds its log"
    found = {unit: one.cgroup for unit, one in running(config.units).items() if one.state == "active"}
    if not found:
        return Row(name, "unknown", f"none of {', '.join(config.units) or 'no units'} runs")
    paths = [config.directory / file for file in config.files]
    holders = {log: inside(writers(log), found.values()) for log in paths if log.exists()}
    if bad := [f"{log} by {each}" for log, held in holders.items() for each in held if not each.appends]:
        return Row(name, "fail", f"held open without O_APPEND, or mapped into memory: {', '.join(bad)}")
    if idle := [str(log) for log in paths if not holders.get(log)]:
        calls = read_json(state_file(config.name)).get("calls")
        status, why = {
            None: ("unknown", "it may open it at its first record, and nobody here counts whether it was called"),
            0: ("ok", "it opens it at its first record, and no call was answered that would be one"),
        }.get(calls, ("warn", f"{calls} calls were answered since the last record; one that the server declines has none"))
        return Row(name, status, f"{', '.join(found)} runs and does not hold {', '.join(idle)} open: {why}")
    return Row(name, "ok", f"{', '.join(found)} holds it open, and can do nothing but append")


def _unit_rows(unit: str) -> Iterator[Row]:
    """Yield the rows on when the log is rotated next, and how the last rotation went."""
    timer = show(f"{unit}.timer", "ActiveState", "NextElapseUSecRealtime", "LastTriggerUSec")
    state = timer.get("ActiveState")
    yield Row("rotation timer", "ok" if state == "active" else "fail", f"{state}, next {timer.get('NextElapseUSecRealtime') or 'never'}")
    last = show(f"{unit}.service", "Result", "ExecMainExitTimestamp")
    when = last.get("ExecMainExitTimestamp") or timer.get("LastTriggerUSec") or "not yet"
    why = "" if last.get("Result") == "success" else f"; the reason is in journalctl --unit={unit}"
    yield Row("last rotation", "fail" if why else "ok", f"{last.get('Result')}, {when}{why}")


def _guard_rows(config: Configuration) -> Iterator[Row]:
    """Yield the rows on the guard: that it runs, what it sees, and whether answers may go out that are not recorded."""
    units = [f"audit-logrotate-{config.name}{suffix}.service" for suffix in ("-guard", "-watch")]
    idle = [unit for unit in units if show(unit, "ActiveState").get("ActiveState") != "active"]
    yield Row("guard", "fail" if idle else "ok", f"{', '.join(idle)} does not run" if idle else f"it runs, {config.guard}")
    found = read_json(state_file(config.name))
    faults = "; ".join(map(str, found.get("faults", {}).values()))
    bad = "fail" if config.guard == "enforce" else "warn"
    faults += "; traffic is rejected" if found.get("rejects") else ""
    if units[0] in idle or "faults" not in found:
        yield Row("answers are recorded", "unknown", "the guard does not run" if units[0] in idle else "the guard has not looked yet")
    else:
        yield Row("answers are recorded", bad if faults else "ok", faults or WELL)
    if leave := pause.unaudited():
        yield Row("no answer without a record", "fail", f"an operator allows it until {time.strftime('%H:%M:%S UTC', time.gmtime(leave[1]))}: {leave[0]}")


def _archive_rows(config: Configuration) -> Iterator[Row]:
    """Yield the rows on the archives, and on what a rotation left over."""
    if show(f"audit-logrotate-{config.name}.service", "ActiveState").get("ActiveState") == "activating":
        yield Row("archives", "unknown", "a rotation is running")
        return
    logs = logs_of(config)
    loose = [path.name for log in logs for path in mutable(log)]
    count = sum(len(archives(log)) for log in logs)
    yield Row("archives", "fail" if loose else "ok", f"not immutable: {', '.join(loose)}" if loose else f"{count} immutable")
    left = [str(path) for log in logs for path in log.left_over()]
    left += [f"{unit} is frozen" for unit in frozen(of_units(config.units))]
    yield Row("rotation complete", "fail" if left else "ok", f"left over: {', '.join(left)}" if left else "nothing is left over")
