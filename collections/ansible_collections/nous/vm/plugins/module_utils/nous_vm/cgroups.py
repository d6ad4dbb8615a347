# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cgroups of units, and whether they are frozen: by what the kernel says, which is the whole argument for losing nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .systemd import show_all

ROOT = Path("/sys/fs/cgroup")


class Events(NamedTuple):
    """What the kernel says of a cgroup; all false if there is none."""

    populated: bool = False
    frozen: bool = False


class Running(NamedTuple):
    """A unit that has processes: its cgroup, and what systemd says it is doing."""

    cgroup: str
    state: str


def events(cgroup: str) -> Events:
    """Return what the kernel says of a cgroup."""
    try:
        lines = Path(f"{ROOT}{cgroup}/cgroup.events").read_text(encoding="ascii").splitlines()
    except OSError:  # a unit that ends takes its cgroup along
        return Events()
    values = dict(line.split() for line in lines)
    return Events(values.get("populated") == "1", values.get("frozen") == "1")


def running(units: Iterable[str]) -> dict[str, Running]:
    """Return those units that have processes, and slices that may get some; a unit that does not exist has none."""
    shown = show_all(units, "ActiveState", "ControlGroup")
    found = {unit: Running(one.get("ControlGroup", ""), one.get("ActiveState", "")) for unit, one in shown.items()}
    return {unit: one for unit, one in found.items() if one.cgroup and (events(one.cgroup).populated or _is_slice(unit, one.cgroup))}


def _is_slice(unit: str, cgroup: str) -> bool:
    """Tell whether a unit is a slice that is there: a service that starts in it is frozen with it."""
    return unit.endswith(".slice") and Path(f"{ROOT}{cgroup}/cgroup.freeze").exists()


def of_units(units: Iterable[str]) -> dict[str, str]:
    """Return the cgroups of those units that have processes."""
    return {unit: one.cgroup for unit, one in running(units).items()}


def pids(cgroups: Iterable[str]) -> set[int]:
    """Return the processes in these cgroups and in those below them."""
    found: set[int] = set()
    for cgroup in cgroups:
        for path in Path(f"{ROOT}{cgroup}").rglob("cgroup.procs"):
            with contextlib.suppress(OSError):  # one that is gone, or of threads
                found.update(map(int, path.read_text(encoding="ascii").split()))
    return found


def set_frozen(cgroup: str, on: bool) -> None:
    """Have the kernel freeze a cgroup, or thaw it; when that is so, events() says. A cgroup that is gone is neither.

    This is not systemctl freeze: a process that is killed while systemd knows its unit as frozen makes systemd itself wait for the thaw (systemd #41842).
    """
    with contextlib.suppress(FileNotFoundError), open(f"{ROOT}{cgroup}/cgroup.freeze", "w", encoding="ascii") as file:
        file.write("1" if on else "0")


def frozen(cgroups: dict[str, str]) -> list[str]:
    """Return the units that are frozen."""
    return [unit for unit, cgroup in cgroups.items() if events(cgroup).frozen]
