# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done on the disk, each step through a descriptor of the directory that it happens in, so that nothing leads elsewhere."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import typing as t

from .._accounts import user_name
from .entries import FilesError

if t.TYPE_CHECKING:
    from collections.abc import Iterator

Owner = tuple[int, int, int]  # uid, gid, mode


def kind_of(status: os.stat_result) -> str:
    kinds = {
        stat.S_IFREG: "file",
        stat.S_IFLNK: "symbolic link",
        stat.S_IFIFO: "FIFO",
        stat.S_IFDIR: "directory",
        stat.S_IFSOCK: "socket",
        stat.S_IFCHR: "character device",
        stat.S_IFBLK: "block device",
    }
    return kinds[stat.S_IFMT(status.st_mode)]


def owner_of(status: os.stat_result) -> Owner:
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)


def open_directory(path: str, parent: int | None = None) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)


def read(name: str, directory: int, limit: int) -> bytes:
    """Return the first limit bytes of a file, and nothing of what leads elsewhere."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    with open(descriptor, "rb") as file:
        return file.read(limit)


def write(name: str, directory: int, content: bytes, owner: Owner) -> None:
    """Make a file that was not there; it has its owner and mode before it has content."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        os.fchown(descriptor, owner[0], owner[1])
        os.fchmod(descriptor, owner[2])
        rest = memoryview(content)
        while rest:
            written = os.write(descriptor, rest)
            rest = rest[written:]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_owner(name: str, directory: int, owner: Owner) -> None:
    """Set owner and mode of what is there; in between nobody has more than both before and after."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    try:
        before = owner_of(os.fstat(descriptor))
        if before == owner:
            return
        os.fchmod(descriptor, before[2] & owner[2])
        os.fchown(descriptor, owner[0], owner[1])
        os.fchmod(descriptor, owner[2])
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(name: str, directory: int) -> None:
    """Remove a file or an empty directory, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        try:
            os.unlink(name, dir_fd=directory)
        except IsADirectoryError:
            os.rmdir(name, dir_fd=directory)


def workplace() -> str:
    """Return the directory in which this user's sets are staged."""
    if os.geteuid() == 0:
        return "/run/nous-vm-files"
    return f"{os.path.realpath(tempfile.gettempdir())}/nous-vm-files-{os.geteuid()}"


@contextlib.contextmanager
def held(place: str) -> Iterator[None]:
    """Hold the directory in which sets are staged, so that this is the only run of this user on this host.

    Others can neither list it nor open it, so that they can neither find a stage nor hold the lock.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(place, 0o700)
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise FilesError(f"{place} belongs to {user_name(os.fstat(descriptor).st_uid)}; remove it and run again.")
        os.fchmod(descriptor, 0o711)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for name in os.listdir(descriptor):
            shutil.rmtree(f"{place}/{name}")
        yield
    finally:
        os.close(descriptor)
