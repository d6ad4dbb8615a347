# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of systemd, and asked of it to do."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .errors import NousVmError
from .foreign import printable
from .programs import Completed, run

ANSWER = 30.0  # seconds that systemd gets to answer a question
WORK = 120.0  # seconds that a unit gets to start or to stop, unless its own limits are longer
TAKEN = "was already loaded"  # what systemd-run prints of a name that a unit has
LET_GO = 5.0  # seconds for systemd to forget a unit that has ended
POLL = 0.02  # seconds between two looks whether it has


def systemctl(*arguments: str, timeout: float = WORK) -> str:
    """Run systemctl and return what it printed; its failures show in the state that is read afterwards."""
    return run(["systemctl", *arguments], timeout=timeout).text.strip()


def ordered(*arguments: str, timeout: float = WORK) -> None:
    """Run systemctl, which has to succeed."""
    done = run(["systemctl", *arguments], timeout=timeout)
    if done.returncode:
        raise NousVmError(f"systemctl {' '.join(arguments)} failed: {done.complaint}")


def show(unit: str, *properties: str) -> dict[str, str]:
    """Return properties of a unit as systemctl show prints them. Raises NousVmError if systemd does not answer."""
    return show_all([unit], *properties)[unit]


def show_all(units: Iterable[str], *properties: str) -> dict[str, dict[str, str]]:
    """Return properties of several units, by their names. Raises NousVmError if systemd answers for some of them only."""
    names = list(units)
    if _remembered is None:
        return _asked(names, f"--property={','.join(properties)}")
    _remembered.update(_asked([name for name in names if name not in _remembered]))
    return {name: {key: value for key, value in _remembered[name].items() if key in properties} for name in names}


_remembered: dict[str, dict[str, str]] | None = None


def remember(units: Iterable[str] = ()) -> None:
    """From now on, in this process and those that it forks, know every unit as it is when it is asked for first; ask for some right away, in one question."""
    global _remembered
    _remembered = _asked(list(units))


def forget() -> None:
    """Ask for every unit anew, as who waits for a change has to."""
    global _remembered
    _remembered = None


def is_remembered() -> bool:
    """Tell whether units are known already."""
    return _remembered is not None


def _asked(names: list[str], *options: str) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    done = run(["systemctl", "show", *options, *names], timeout=ANSWER)
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in done.text.strip().split("\n\n") if block]
    if len(blocks) != len(names):
        raise NousVmError(f"systemctl show answers for {len(blocks)} of {len(names)} units: {done.complaint}")
    return dict(zip(names, blocks, strict=True))


def is_active(unit: str) -> bool:
    """Tell whether a unit is active; one that is remembered, whether it was."""
    if _remembered is not None:
        return show(unit, "ActiveState").get("ActiveState") == "active"
    return systemctl("is-active", unit, timeout=ANSWER) == "active"


def journal(*matches: str, lines: int = 12, since: float | None = None) -> list[str]:
    """Return the last lines of the journal that match (--unit=..., FIELD=...), as they may be printed."""
    begin = [] if since is None else [f"--since=@{since}"]
    done = run(["journalctl", "--quiet", "--no-pager", "--output=cat", f"--lines={lines}", *begin, *matches], timeout=ANSWER)
    return [printable(line) for line in done.text.splitlines()]


def transient(
    unit: str,
    properties: Iterable[str],
    argv: Iterable[str | Path],
    *,
    options: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
    wait: bool = True,
) -> list[str]:
    """Return the command that runs ARGV in a unit of its own and waits for it, its standard streams passed through; or that only starts it there."""
    about = ["--quiet", *(["--wait", "--pipe"] if wait else []), "--collect", "--service-type=exec", "--expand-environment=no"]
    settings = [f"--setenv={name}={value}" for name, value in (environment or {}).items()]
    named = [f"--unit={unit}"] if unit else []
    return ["systemd-run", *about, *named, *options, *settings, *(f"--property={each}" for each in properties), *map(str, argv)]


def in_unit(unit: str, properties: Iterable[str], argv: Iterable[str | Path], *, timeout: float, **options: Any) -> Completed:
    """Run a program in a unit of its own, within TIMEOUT seconds; RuntimeMaxSec= ends it there if this process does not come to it.

    Whoever waited for the unit that had the name before is told of its end a moment before systemd forgets it: that is waited for.
    """
    command = transient(unit, [*properties, f"RuntimeMaxSec={timeout:g}"], argv)
    done = run(command, timeout=timeout + 10, **options)
    if done.returncode and TAKEN in done.complaint and wait_until_forgotten(unit):
        done = run(command, timeout=timeout + 10, **options)
    return done


def wait_until_forgotten(unit: str) -> bool:
    """Wait until systemd has forgotten a unit that has ended; return whether it did within LET_GO seconds."""
    deadline = time.monotonic() + LET_GO
    while systemctl("show", "--value", "--property=LoadState", unit, timeout=ANSWER) != "not-found":
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True
