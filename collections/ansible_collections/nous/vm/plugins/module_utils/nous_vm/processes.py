# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's processes: who they are, what they hold open, and the cgroups that they are in."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import NousVmError
from .foreign import printable


@dataclass(frozen=True)
class Process:
    """A process that holds a file open, or could.

    cgroup: its path below /sys/fs/cgroup. appends: whatever it holds open for writing, it holds with O_APPEND, and nothing of it in its memory.
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


def _mapped(pid: int, wanted: os.stat_result, name: bytes) -> bool:
    """Tell whether a process has a file in its memory in a way that can change it: shared, and writable, or made so at any time.

    A file is known by its inode and its device, or its name: some file systems have other devices here than in stat(2).
    """
    found = []
    for line in Path(f"/proc/{pid}/maps").read_bytes().splitlines():
        if line.find(b"s ", 0, 45) < 0:  # nearly all are private
            continue
        place, permissions, _offset, device, inode, path = (*line.split(None, 5), b"")[:6]
        major, minor = (int(number, 16) for number in device.split(b":"))
        if permissions[3:] == b"s" and int(inode) == wanted.st_ino and (os.makedev(major, minor) == wanted.st_dev or path.endswith(b"/" + name)):
            found.append(place)
    return bool(found) and any(_may_write(pid, place) for place in found)


def _may_write(pid: int, place: bytes) -> bool:
    """Tell whether a mapping may be written to, or may be made so by mprotect(2): proc(5), mw in the VmFlags of smaps."""
    inside = False
    for line in Path(f"/proc/{pid}/smaps").read_bytes().splitlines():
        if line.startswith(place + b" "):
            inside = True
        elif inside and line.startswith(b"VmFlags:"):
            return b"mw" in line.split()
    return False


def writers(path: Path, mapped_by: Collection[int] | None = None) -> list[Process]:
    """Return every other process that holds a file open for writing, or has it in its memory so. Raises NousVmError if that cannot be seen.

    mapped_by: the processes whose memory is looked into; that of all takes three times as long as their descriptors.
    """
    wanted = os.stat(path)
    found = []
    for pid in pids():
        try:
            flags = [each for each in _opened(pid, wanted) if each & os.O_ACCMODE != os.O_RDONLY]
            mapped = (mapped_by is None or pid in mapped_by) and _mapped(pid, wanted, os.fsencode(path.name))
            if flags or mapped:
                found.append(described(pid, not mapped and all(each & os.O_APPEND for each in flags)))
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
