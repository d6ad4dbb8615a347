# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The freeze: the units that write to a log stand still, by the kernel's word, while it is cut."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ..cgroups import Events, events, frozen, of_units, running
from ..errors import NousVmError
from ..programs import run
from ..systemd import systemctl
from .configuration import Configuration
from .steps import Steps

WAIT = 10.0  # seconds for all units to be frozen
LIMIT = 30  # seconds after which systemd thaws them, whatever became of this program
POLL = 0.02


class Pause:
    """How long the units were frozen: milliseconds, known when it is over."""

    milliseconds = 0.0

    def __init__(self, cgroups: dict[str, str]) -> None:
        self.cgroups = cgroups

    def still(self) -> dict[str, str]:
        """Return the cgroups of the frozen units by the units' names. Raises NousVmError if one of them was thawed."""
        for unit, cgroup in self.cgroups.items():
            if events(cgroup) == Events(populated=True, frozen=False):
                raise NousVmError(f"{unit} was thawed by somebody else")
        return self.cgroups


def freeze(units: Iterable[str]) -> dict[str, str]:
    """Freeze the units that run and return their cgroups, once the kernel says that all are frozen."""
    names, deadline = list(units), time.monotonic() + WAIT
    while True:
        found = running(names)
        reason = ", ".join(f"{unit} is {one.state}" for unit, one in found.items())
        # systemd freezes no unit that is starting or stopping: such a unit, a flush say, is let finish first.
        if all(one.state == "active" for one in found.values()):
            if found:
                reason = run(["systemctl", "freeze", *found], timeout=LIMIT).complaint
            cgroups = {unit: one.cgroup for unit, one in found.items()}
            if len(frozen(cgroups)) == len(cgroups):
                return cgroups
        if time.monotonic() > deadline:
            raise NousVmError(f"the units are not frozen after {WAIT:g} s: {reason}")
        time.sleep(POLL)


def thaw(cgroups: dict[str, str], steps: Steps) -> None:
    """Thaw those units that are frozen and see that they are."""
    if units := frozen(cgroups):
        complaint = run(["systemctl", "thaw", *units], timeout=LIMIT).complaint
        if left := frozen(cgroups):
            raise NousVmError(f"{', '.join(left)} cannot be thawed: {complaint}")
        steps.add("thaw", ", ".join(units))


@contextmanager
def held_frozen(config: Configuration, steps: Steps) -> Iterator[Pause]:
    """Freeze the units meanwhile."""
    with _watchdog(config):
        start, pause = time.monotonic(), Pause({})
        try:
            pause.cgroups = freeze(config.units)
            steps.add("freeze", ", ".join(pause.cgroups) or "no unit runs")
            yield pause
        finally:
            thaw(pause.cgroups or of_units(config.units), steps)
            pause.milliseconds = (time.monotonic() - start) * 1000
            steps.add("pause", f"{pause.milliseconds:.0f} ms")


@contextmanager
def _watchdog(config: Configuration) -> Iterator[None]:
    """Have systemd thaw the units when the limit is over."""
    if not config.units:
        yield
        return
    unit = f"nous-vm-audit-{config.name}-thaw"
    systemctl("stop", f"{unit}.timer")
    timer = ["systemd-run", "--quiet", "--collect", f"--unit={unit}", f"--on-active={LIMIT}s", "--timer-property=AccuracySec=1s"]
    done = run([*timer, "systemctl", "thaw", *config.units], timeout=LIMIT)
    if done.returncode:
        raise NousVmError(f"no timer can be set that would thaw the units: {done.complaint}")
    try:
        yield
    finally:
        systemctl("stop", f"{unit}.timer")
