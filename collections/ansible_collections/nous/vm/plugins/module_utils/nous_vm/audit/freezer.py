# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The freezer: a process of its own, in a unit of its own, that freezes the units of a rotation and thaws them whatever becomes of the rotation.

It never thaws while the rotation could lift the append-only flag: either the rotation asked for the thaw, or the freezer has killed it and seen it end. And it
sets the flag before it thaws. The rotation listens on a socket; there it asks for "freeze" and "thaw", and is answered "frozen", "thawed" or why not.
"""

from __future__ import annotations

import contextlib
import glob
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from .. import inodes
from ..cgroups import events, set_frozen
from ..errors import NousVmError
from ..output import complain

LIMIT = 3.0  # seconds from the freeze to the thaw, whatever the rotation does: six times what it gets until the cut
FREEZE = 0.5  # seconds for all units to be frozen, of these
IDLE = 30.0  # seconds for the rotation to ask for something
THAW = 3.0  # seconds for all units to run again
POLL = 0.001
CREDENTIALS = "iii"  # struct ucred of unix(7): pid, uid, gid


class Freezer:
    """Freezes cgroups for the rotation at the other end of a socket. logs: what has to be append-only before they are thawed."""

    def __init__(self, rotation: socket.socket, cgroups: Sequence[str], logs: Sequence[Path]) -> None:
        self.rotation = rotation
        self.cgroups = cgroups
        self.logs = logs
        self.process = os.pidfd_open(struct.unpack(CREDENTIALS, rotation.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize(CREDENTIALS)))[0])

    def serve(self) -> None:
        """Do what the rotation asks for, until it asks for the thaw, ends, or takes longer than the limit."""
        deadline, asked = time.monotonic() + IDLE, b""
        try:
            while (asked := self._asked(deadline)) == b"freeze":
                deadline = time.monotonic() + LIMIT
                self._answer(self._freeze())
        finally:
            if asked != b"thaw":
                self._end_rotation()
            left = self._protect() + self._thaw()
        self._answer("; ".join(left) or "thawed")

    def _asked(self, deadline: float) -> bytes:
        """Return what the rotation asks for; nothing if it ended, or the time is over."""
        if not select.select([self.rotation], [], [], max(deadline - time.monotonic(), 0))[0]:
            complain("the rotation does not go on in its time: it is killed")
            return b""
        with contextlib.suppress(ConnectionError):
            return self.rotation.recv(16)
        return b""

    def _answer(self, text: str) -> None:
        with contextlib.suppress(OSError):  # of a rotation that is gone
            self.rotation.send(text.encode())

    def _freeze(self) -> str:
        """Freeze, and wait until the kernel says that every process is; return what came of it."""
        deadline = time.monotonic() + FREEZE
        try:
            for cgroup in self.cgroups:
                set_frozen(cgroup, True)
        except OSError as error:
            return f"a unit cannot be frozen: {error}"
        while running := [cgroup for cgroup in self.cgroups if (found := events(cgroup)).populated and not found.frozen]:
            if time.monotonic() > deadline:
                return f"not frozen after {FREEZE:g} s: {', '.join(running)}"
            time.sleep(POLL)
        return "frozen"

    def _end_rotation(self) -> None:
        """Kill the rotation and wait for its end, however long that takes: as long as it lives it could lift the flag."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.process, signal.SIGKILL)
        select.select([self.process], [], [])

    def _protect(self) -> list[str]:
        """Make the logs append-only and their archives immutable; return where that failed."""
        failed = []
        for log in self.logs:
            archives = [path for path in log.parent.glob(f"{glob.escape(log.name)}.*") if path.name.removesuffix(".gz").rpartition(".")[2].isdecimal()]
            for path, flag in [(log, inodes.APPEND_ONLY), *((path, inodes.IMMUTABLE) for path in archives)]:
                try:
                    inodes.change(path, on=flag)
                except OSError as error:
                    failed.append(f"not protected: {error}")
        return failed

    def _thaw(self) -> list[str]:
        """Thaw, and wait until the kernel says so; return where that failed."""
        failed, deadline = [], time.monotonic() + THAW
        for cgroup in self.cgroups:
            try:
                set_frozen(cgroup, False)
            except OSError as error:
                failed.append(f"not thawed: {error}")
        while any(events(cgroup).frozen for cgroup in self.cgroups) and not failed and time.monotonic() < deadline:
            time.sleep(POLL)
        return failed


@contextlib.contextmanager
def connected(path: Path, timeout: float) -> Iterator[socket.socket]:
    """Connect to the socket of a rotation. Raises NousVmError if it is not there any more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as rotation:
        rotation.settimeout(timeout)
        try:
            rotation.connect(str(path))
        except OSError as error:
            raise NousVmError(f"no rotation listens on {path}: {error}") from error
        yield rotation
