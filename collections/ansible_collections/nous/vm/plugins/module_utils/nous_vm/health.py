# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health check: rows on whether the host is in its expected state, found part by part, each part with a limit of time."""

from __future__ import annotations

import importlib
import json
import os
import re
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .foreign import printable
from .names import CONFIGURATION
from .programs import run

PART = 60.0  # seconds that one part gets
ROWS = 1 << 20  # bytes of rows that one part gives
STATUSES = ("ok", "warn", "unknown", "fail")
SERVICE = ("ActiveState", "SubState", "ActiveEnterTimestamp", "UnitFileState", "NRestarts")  # of a unit, for unit_rows
COLOURS = {"ok": "32", "warn": "33", "unknown": "33", "fail": "31"}


class Row(NamedTuple):
    """One finding. status: ok, it is as expected; warn, a person should look; unknown, it cannot be probed from here; fail, it is not as expected."""

    name: str
    status: str
    detail: str


class Finding(NamedTuple):
    """A row, and the part of the check that it is of."""

    part: str
    name: str
    status: str
    detail: str


Check = Callable[[], Iterator[Row]]


def parts() -> dict[str, Check]:
    """Return the parts whose role was applied to this host: nous_vm/NAME/check.py beside /etc/nous-vm/NAME.json, or a folder of that name."""
    found = {}
    for module in sorted(Path(__file__).parent.glob("*/check.py")):
        name = module.parent.name
        if (CONFIGURATION / f"{name}.json").exists() or (CONFIGURATION / name).is_dir():
            found[name] = _loaded(name)
    return found


def _loaded(name: str) -> Check:
    def check() -> Iterator[Row]:
        yield from importlib.import_module(f".{name}.check", __package__).check()

    return check


def run_parts(checks: dict[str, Check], limit: float = PART) -> list[Finding]:
    """Run every part, side by side; one that breaks or hangs is a row that failed, after those that it gave."""
    begun = {name: _begin(check) for name, check in checks.items()}
    deadline = time.monotonic() + limit
    return [finding for name, (pid, pipe) in begun.items() for finding in _end(name, pid, pipe, deadline, limit)]


def _begin(check: Check) -> tuple[int, int]:
    """Run a part in a process of its own, which writes a row a line; return its number and where its rows come from."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid:
        os.close(theirs)
        return pid, ours
    try:
        os.setsid()
        with os.fdopen(theirs, "w", encoding="utf-8") as rows:
            for row in _rows(check):
                rows.write(json.dumps(row) + "\n")
                rows.flush()
    finally:
        os._exit(0)


def _rows(check: Check) -> Iterator[Row]:
    try:
        for row in check():
            if row.status not in STATUSES:
                raise ValueError(f"row {row.name!r} has the status {row.status!r}")
            yield Row(printable(row.name), row.status, printable(row.detail))
    except Exception as error:  # noqa: BLE001 - whatever a part does, the others are still to be run
        yield Row("check", "fail", f"the check broke: {printable(f'{type(error).__name__}: {error}')}")


def _end(name: str, pid: int, pipe: int, deadline: float, limit: float) -> list[Finding]:
    """Return the rows of a part; what it began is ended."""
    content, late = b"", False
    while len(content) < ROWS:
        if not select.select([pipe], [], [], max(deadline - time.monotonic(), 0))[0]:
            late = True
            break
        block = os.read(pipe, 65536)
        if not block:
            break
        content += block
    os.close(pipe)
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    rows = [Row(*json.loads(line)) for line in content.decode().splitlines(keepends=True) if line.endswith("\n")]
    if late:
        after = f"after the row {rows[-1].name}" if rows else "before its first row"
        rows.append(Row("check", "fail", f"the check did not end within {limit:g} s; it hung {after}"))
    return [Finding(name, *row) for row in rows]


def table(found: list[Finding], colour: bool) -> str:
    """Lay the rows out for a person."""
    widths = [max((len(row[column]) for row in found), default=0) for column in range(3)]
    lines = []
    for row in found:
        status = row.status.ljust(widths[2])
        if colour:
            status = f"\033[{COLOURS[row.status]}m{status}\033[0m"
        lines.append(f"{row.part.ljust(widths[0])}  {row.name.ljust(widths[1])}  {status}  {row.detail}")
    return "\n".join(lines)


# What several parts look at


def score(unit: str) -> float | None:
    """Return how exposed systemd thinks a unit is, 0 to 10; None if it does not say."""
    found = re.search(r"exposure level for \S+: ([\d.]+)", run(["systemd-analyze", "security", "--no-pager", unit], timeout=30).text)
    return float(found[1]) if found else None


def sandbox(unit: str, most: float) -> Row:
    """Return the row on a unit's sandbox: at most MOST of systemd's own score. 255 is the oldest systemd of any platform."""
    found = score(unit)
    status = "unknown" if found is None else "ok" if found <= most else "fail"
    return Row(f"sandbox of {unit}", status, f"{found} by systemd-analyze security, at most {most}")


def permissions(path: Path, expected: str) -> tuple[str, str]:
    """Return status and detail of a row on a file's mode, owner and group, expected as "0640 root:nous"; they are numbers where expected as such."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return "fail", f"absent instead of {expected}"
    owner, group = expected.split()[1].split(":")
    user = found.st_uid if owner.isdecimal() else path.owner()
    seen = f"{found.st_mode & 0o7777:04o} {user}:{found.st_gid if group.isdecimal() else path.group()}"
    return ("ok", seen) if seen == expected else ("fail", f"{seen} instead of {expected}")


def unit_rows(state: dict[str, str]) -> Iterator[Row]:
    """Yield the rows on a service: that it runs, starts at boot and does not crash. state: the properties that SERVICE names."""
    detail = f"{state.get('ActiveState')} ({state.get('SubState')}) since {state.get('ActiveEnterTimestamp') or 'never'}"
    yield Row("service", "ok" if state.get("ActiveState") == "active" else "fail", detail)
    yield Row("starts at boot", "ok" if state.get("UnitFileState") == "enabled" else "fail", state.get("UnitFileState", ""))
    restarts = int(state.get("NRestarts") or 0)
    yield Row("crashes", "ok" if restarts == 0 else "warn" if restarts < 3 else "fail", f"{restarts} since it was started")


def document(found: list[Finding]) -> dict[str, Any]:
    """Return what check prints as JSON."""
    return {"healthy": all(row.status != "fail" for row in found), "rows": [row._asdict() for row in found]}
