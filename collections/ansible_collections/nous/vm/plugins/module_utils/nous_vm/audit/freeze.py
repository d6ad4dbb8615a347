# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The freeze: the units that write to a log stand still, by the kernel's word, while it is cut. It is done by freezer.py, in a unit of its own."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from .. import locks
from ..cgroups import ROOT, Events, Running, events, frozen, running, set_frozen
from ..errors import NousVmError
from ..foreign import printable
from ..names import COMMAND, PYTHON
from ..programs import run
from ..sandbox import directives
from ..systemd import show_all, transient
from .configuration import Configuration
from .freezer import LIMIT
from .steps import Steps

WAIT = 10.0  # seconds for units that are starting or stopping to have done so
START = 30.0  # seconds for the freezer to be there
BUDGET = 0.5  # seconds from the freeze on, after which the log is not cut any more
POLL = 0.02
COUNT = itertools.count()


class GaveUp(NousVmError):
    """A rotation that was not to be had at this moment: nothing was changed, and it is tried again."""


class Pause:
    """How long the units are frozen. milliseconds: known when it is over."""

    milliseconds = 0.0

    def __init__(self, cgroups: dict[str, str]) -> None:
        self.cgroups = cgroups
        self.start = time.monotonic()

    def still(self) -> dict[str, str]:
        """Return the cgroups of the frozen units by the units' names. Raises NousVmError if one of them runs, GaveUp if it has taken too long."""
        self.held()
        if time.monotonic() - self.start > BUDGET:
            raise GaveUp(f"the log is not cut {BUDGET:g} s after the freeze: that is long enough")
        return self.cgroups

    def held(self) -> None:
        """Raise NousVmError if a unit runs."""
        if thawed := self.thawed():
            raise NousVmError(f"{thawed} was thawed by somebody else")

    def thawed(self) -> str:
        """Return the units that run although they are to be frozen, or nothing: systemd 255 thaws a unit that it is to stop."""
        return ", ".join(unit for unit, cgroup in self.cgroups.items() if events(cgroup) == Events(populated=True, frozen=False))


def settled(units: Iterable[str]) -> dict[str, str]:
    """Return the cgroups of the units that run, once none of them is starting or stopping: such a unit, a flush say, is let finish first."""
    names, deadline = list(units), time.monotonic() + WAIT
    while True:
        found = running(names)
        if all(one.state == "active" for one in found.values()):
            return {unit: one.cgroup for unit, one in found.items()}
        if time.monotonic() > deadline:
            busy = ", ".join(f"{unit} is {one.state}" for unit, one in found.items() if one.state != "active")
            raise NousVmError(f"the units cannot be frozen after {WAIT:g} s: {busy}")
        time.sleep(POLL)


@contextmanager
def held_frozen(config: Configuration, steps: Steps, last: Callable[[], object] = lambda: None) -> Iterator[Pause]:
    """Freeze the units that run meanwhile. None of them starts meanwhile: the freezer's unit is one that such a start waits for.

    last: what is done right before the freeze, when the freezer is there.
    """
    cgroups = settled(config.units)
    with _freezer(config, cgroups) if config.units else contextlib.nullcontext() as freezer:
        pause = Pause(cgroups)
        try:
            last()
            if freezer:
                if running(config.units) != {unit: Running(cgroup, "active") for unit, cgroup in cgroups.items()}:
                    raise GaveUp("a unit was started or stopped just before the freeze")
                pause.start = time.monotonic()
                _ask(freezer, "freeze", "frozen")
            steps.add("freeze", ", ".join(cgroups) or "no unit runs")
            yield pause
        finally:
            if freezer:
                _thaw(freezer, config, cgroups, steps)
            pause.milliseconds = (time.monotonic() - pause.start) * 1000
            steps.add("pause", f"{pause.milliseconds:.0f} ms")


def thaw(config: Configuration, cgroups: Mapping[str, str], steps: Steps) -> None:
    """Thaw those units that are frozen, and see that they are: their freezer was killed, or somebody else froze them."""
    if not (left := {unit: cgroups[unit] for unit in frozen(dict(cgroups))}):
        return
    if by_systemd := [unit for unit, state in show_all(left, "FreezerState").items() if state.get("FreezerState") == "frozen"]:
        run(["systemctl", "thaw", *by_systemd], timeout=START)
    try:
        for cgroup in left.values():
            set_frozen(cgroup, False)
    except OSError:  # in the sandbox of a unit
        with _freezer(config, left) as freezer:
            _ask(freezer, "thaw", "thawed")
    steps.add("thaw", ", ".join(left))


def _thaw(freezer: socket.socket, config: Configuration, cgroups: Mapping[str, str], steps: Steps) -> None:
    """Have the freezer thaw the units; if it was killed, another does."""
    try:
        _ask(freezer, "thaw", "thawed")
    except NousVmError as error:
        steps.add("freezer", str(error))
        thaw(config, cgroups, steps)
    else:
        steps.add("thaw", ", ".join(cgroups))


def _ask(freezer: socket.socket, what: str, expected: str) -> None:
    """Ask the freezer for something. Raises NousVmError if it answers another thing, or not."""
    try:
        freezer.send(what.encode())
        while (answer := freezer.recv(1000).decode()) == "frozen" != expected:  # an answer that this program was interrupted in waiting for
            pass
    except OSError as error:
        answer = str(error)
    if answer != expected:
        raise NousVmError(f"the freezer was to {what}: {printable(answer) or 'it is gone'}")


@contextmanager
def _freezer(config: Configuration, cgroups: Mapping[str, str]) -> Iterator[socket.socket]:
    """Start the freezer of these cgroups; yield the connection to it."""
    path = locks.FOLDER / f"freezer-{config.name}.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(path))
        try:
            listener.listen(1)
            listener.settimeout(START)
            _start(config, cgroups, path)
            freezer, _address = listener.accept()
        except TimeoutError:
            raise NousVmError(f"the freezer is not there after {START:g} s") from None
        finally:
            path.unlink()
    with freezer:
        freezer.settimeout(2 * LIMIT)
        yield freezer


def _start(config: Configuration, cgroups: Mapping[str, str], path: Path) -> None:
    """Start the freezer in a unit of its own, which a kill of the rotation does not reach and which may do no more than it has to."""
    writes = [config.directory, locks.file(f"freezer-{config.name}"), *(f"{ROOT}{cgroup}" for cgroup in cgroups.values())]
    sandbox = directives(
        {
            "CapabilityBoundingSet": "CAP_LINUX_IMMUTABLE CAP_FOWNER CAP_DAC_OVERRIDE",
            "ReadWritePaths": [f"-{each}".replace("\\", "\\\\") for each in writes],  # the name of a cgroup may have a backslash
            "SystemCallFilter": ["@system-service", "~@privileged @resources"],
            "OOMScoreAdjust": -1000,
            "MemoryMax": "64M",
            "SyslogIdentifier": f"audit-logrotate-{config.name}",
        }
    )
    arguments = ["--name", config.name, "--socket", str(path)]
    arguments += [word for cgroup in cgroups.values() for word in ("--cgroup", cgroup)]
    arguments += [word for name in config.files for word in ("--log", str(config.directory / name))]
    unit = f"nous-vm-audit-{config.name}-freezer-{os.getpid()}-{next(COUNT)}"
    # It is "starting" until it ends, and so is what comes after it: a unit that is started meanwhile starts when the log is cut and the freezer gone.
    order = [f"--property=Before={unit}" for unit in config.units]
    command: list[str | Path] = [PYTHON, "-I", COMMAND, "audit", "freezer", *arguments]
    argv = transient(unit, sandbox, command, options=["--no-block", "--service-type=oneshot", *order], wait=False)
    done = run(argv, timeout=START)
    if done.returncode:
        raise NousVmError(f"the freezer does not start: {done.complaint}")
