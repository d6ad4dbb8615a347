# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health check: rows on whether the host is in its expected state, found part by part, each part with a limit of time."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import selectors
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from .errors import end
from .exposure import score
from .foreign import printable
from .names import CONFIGURATION
from .systemd import is_remembered, remember

PART = 60.0  # seconds that one part gets
GRACE = 2.0  # seconds that a part gets to end the programs that it runs
ROWS = 1 << 20  # bytes of rows that one part gives
END = "\n"
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


def applied(module: str) -> list[str]:
    """Return the subpackages that have a module and whose role was applied to this host: /etc/nous-vm/NAME.json is there, or a folder of that name."""
    names = [path.parent.name for path in sorted(Path(__file__).parent.glob(f"*/{module}.py"))]
    return [name for name in names if (CONFIGURATION / f"{name}.json").exists() or (CONFIGURATION / name).is_dir()]


def parts() -> dict[str, Check]:
    """Return the parts of the check: those of the subpackages whose role was applied to this host. This process does not look for garbage any more."""
    gc.disable()  # nor do those of the parts; all of them end soon, and it is a tenth of what they take
    names = applied("check")
    for name in names:  # once for all of them, before they are processes of their own; what breaks here breaks there again, and is a row
        with contextlib.suppress(Exception):
            importlib.import_module(f".{name}.check", __package__)
    return {name: _loaded(name) for name in names}


def _loaded(name: str) -> Check:
    def check() -> Iterator[Row]:
        yield from importlib.import_module(f".{name}.check", __package__).check()

    return check


def run_parts(checks: dict[str, Check], limit: float = PART) -> list[Finding]:
    """Run every part, side by side, LIMIT seconds; one that breaks, hangs, dies or floods is a row that failed, after those that it gave."""
    begun: list[_Part] = []
    deadline = time.monotonic() + limit
    try:
        with selectors.DefaultSelector() as selector:
            for name, check in checks.items():
                begun.append(_Part(name, check))
                selector.register(begun[-1].pipe, selectors.EVENT_READ, begun[-1])
            while selector.get_map() and (left := deadline - time.monotonic()) > 0:
                for key, _events in selector.select(left):
                    if not key.data.read():
                        selector.unregister(key.fd)
    finally:  # also if somebody interrupts the check
        for part in begun:
            part.stop()
        for part in begun:
            part.end()
    return [Finding(part.name, *row) for part in begun for row in part.rows(limit)]


class _Part:
    """A part of the check that runs in a process of its own, which writes a row a line, and an empty line when it is complete."""

    def __init__(self, name: str, check: Check) -> None:
        self.name, self.content, self.ended, self.status = name, b"", False, 0
        self.pipe, theirs = os.pipe2(os.O_CLOEXEC)
        self.pid = os.fork()
        if not self.pid:
            _write_rows(check, theirs)
        os.close(theirs)

    def read(self) -> bool:
        """Read what there is; return whether there may be more to read."""
        block = os.read(self.pipe, 1 << 16)
        self.content += block
        self.ended = not block
        return bool(block) and len(self.content) < ROWS

    def stop(self) -> None:
        """Have a part that still runs stop, and with it the programs that it runs."""
        if not self.ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def end(self) -> None:
        """End the process, by force if need be, and whatever is left of its group."""
        os.close(self.pipe)
        handle = os.pidfd_open(self.pid)
        select.select([handle], [], [], GRACE)
        os.close(handle)
        for kill in (os.killpg, os.kill):  # of a process that has not come to have a group there is none
            with contextlib.suppress(ProcessLookupError):
                kill(self.pid, signal.SIGKILL)
        self.status = os.waitpid(self.pid, 0)[1]

    def rows(self, limit: float) -> list[Row]:
        """Return the rows that it gave, and one more if it did not end well."""
        lines = self.content.decode().splitlines(keepends=True)
        found = [Row(*json.loads(line)) for line in lines if line.endswith("\n") and line != END]
        after = f"after the row {found[-1].name}" if found else "before its first row"
        if len(self.content) >= ROWS:
            found.append(Row("check", "fail", f"the check gave more than {ROWS} bytes of rows"))
        elif not self.ended:
            found.append(Row("check", "fail", f"the check did not end within {limit:g} s; it hung {after}"))
        elif END not in lines:
            found.append(Row("check", "fail", f"the check died {after} (exit code {os.waitstatus_to_exitcode(self.status)})"))
        return found


def _write_rows(check: Check, pipe: int) -> NoReturn:
    """Write the rows of a part to a pipe, in the process that is the part's own."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, end)  # so that programs.run ends what it runs
        if not is_remembered():
            remember()
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1):  # a part gives rows and prints nothing
            os.dup2(nothing, standard)
        with os.fdopen(pipe, "w", encoding="utf-8") as rows:
            for row in _rows(check):
                rows.write(json.dumps(row) + "\n")
                rows.flush()
            rows.write(END)
        code = 0
    finally:
        os._exit(code)


def _rows(check: Check) -> Iterator[Row]:
    """Yield the rows of a part as they may be printed, and how it broke if it did."""
    try:
        for row in check():
            if row.status not in STATUSES:
                raise ValueError(f"row {row.name!r} has the status {row.status!r}")
            yield Row(printable(row.name), row.status, printable(row.detail))
    except Exception as error:  # noqa: BLE001 - whatever a part does, the others are still to be run
        yield Row("check", "fail", f"the check broke: {printable(f'{type(error).__name__}: {error}')}")


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
    user: str | int = found.st_uid
    set_group: str | int = found.st_gid
    with contextlib.suppress(KeyError):  # of an account that is gone the number is shown
        user = user if owner.isdecimal() else path.owner()
        set_group = set_group if group.isdecimal() else path.group()
    seen = f"{found.st_mode & 0o7777:04o} {user}:{set_group}"
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
    failed = [f"{row.part}: {row.name}: {row.detail}" for row in found if row.status == "fail"]
    about: dict[str, Any] = {"healthy": not failed, "rows": [row._asdict() for row in found]}
    return about | {"message": f"not in the expected state: {'; '.join(failed)}"} if failed else about
