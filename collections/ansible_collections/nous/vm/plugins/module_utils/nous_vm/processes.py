# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's processes: who they are, what they hold open, and the cgroups that they are in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import NousVmError
from .foreign import printable


@dataclass(frozen=True)
class Process:
    """A process that holds a file open, or could.

    cgroup: its path below /sys/fs/cgroup. appends: whatever it holds open for writing, it holds with O_APPEND.
    """

    pid: int
    name: str
    cgroup: str
    appends: bool = True

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


def pids() -> list[int]:
    """Return the number of every other process."""
    return [int(pid) for pid in os.listdir("/proc") if pid.isdecimal() and pid != str(os.getpid())]


def cgroup_of(pid: int) -> str:
    """Return the cgroup of a process, as a path below /sys/fs/cgroup."""
    lines = Path(f"/proc/{pid}/cgroup").read_bytes().decode("utf-8", "replace").splitlines()
    return next((line[3:] for line in lines if line.startswith("0::")), "")


def described(pid: int, appends: bool = True) -> Process:
    """Return a process with its name and its cgroup. Raises FileNotFoundError, ProcessLookupError if it ended meanwhile."""
    return Process(pid, printable(Path(f"/proc/{pid}/comm").read_bytes()), cgroup_of(pid), appends)


def _opened(pid: int, wanted: os.stat_result) -> Iterator[int]:
    """Yield how a process opened a file, once for each of its descriptors of it."""
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            if os.path.samestat(os.stat(f"/proc/{pid}/fd/{number}"), wanted):
                info = Path(f"/proc/{pid}/fdinfo/{number}").read_text(encoding="ascii")
                yield int(info.split("flags:")[1].split()[0], 8)
        except FileNotFoundError:  # closed in the meantime
            continue


def writers(path: Path) -> list[Process]:
    """Return every other process that holds a file open for writing. Raises NousVmError if that cannot be seen."""
    wanted = os.stat(path)
    found = []
    for pid in pids():
        try:
            if flags := [each for each in _opened(pid, wanted) if each & os.O_ACCMODE != os.O_RDONLY]:
                found.append(described(pid, all(each & os.O_APPEND for each in flags)))
        except (FileNotFoundError, ProcessLookupError):  # ended in the meantime
            continue
        except PermissionError:
            raise NousVmError(f"what process {pid} holds open cannot be seen: CAP_SYS_PTRACE is missing") from None
    return found


def openers(uid: int, gids: set[int]) -> list[Process]:
    """Return every process without root's rights that has this user or one of these groups."""
    found = []
    for pid in pids():
        try:
            lines = Path(f"/proc/{pid}/status").read_bytes().decode("utf-8", "replace").splitlines()
            status = {key: value.split() for key, _colon, value in (line.partition(":") for line in lines)}
            users, groups = set(map(int, status["Uid"])), set(map(int, status["Gid"] + status["Groups"]))
            if status["State"][0] != "Z" and 0 not in users and (uid in users or gids & groups):
                found.append(described(pid))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
