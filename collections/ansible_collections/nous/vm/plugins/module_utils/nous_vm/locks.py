# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to wait for somebody: a lock file of root's that nobody else can open, a bounded wait, and who holds it since when."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from .atomic import own_directory
from .errors import ForeignError, LockedError
from .foreign import printable, read_file

FOLDER = Path("/run/nous-vm")  # root's, 0700: a lock that others can open is one that others can hold
CONNECTION = "SSH_CONNECTION"  # the variable of sshd whose first word is where somebody comes from
LOCAL = "local"  # who came by no ssh
ANCESTORS = 32
POLL = 0.02  # seconds between two attempts
FLOCK = "hhqqi"  # struct flock of fcntl(2) on 64-bit Linux


def _open(name: str) -> int:
    folder = own_directory(FOLDER)
    try:
        return os.open(f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    finally:
        os.close(folder)


def file(name: str) -> Path:
    """Make the file of a lock if it is not there, and return its path, for a unit that may write to nothing else here."""
    os.close(_open(name))
    return FOLDER / f"{name}.lock"


def _lock(command: int, descriptor: int) -> int:
    """Ask the kernel for the whole file, by open file description; return the kind of lock that is in the way."""
    answer = fcntl.fcntl(descriptor, command, struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    return int(struct.unpack(FLOCK, answer)[0])


def whoever() -> str:
    """Return the name of the person behind this process."""
    import getpass

    try:
        return os.environ.get("SUDO_USER") or os.getlogin()
    except OSError:
        return getpass.getuser()


def origin() -> str:
    """Return where the person behind this process is: an address, or LOCAL. What sudo left out of the environment is in that of a process before it."""
    if given := os.environ.get(CONNECTION):
        return given.split(" ")[0]
    pid = os.getpid()
    for _generation in range(ANCESTORS):
        try:
            for each in read_file(f"/proc/{pid}/environ").split(b"\0"):
                name, _equals, value = each.partition(b"=")
                if name == CONNECTION.encode():
                    return value.split(b" ")[0].decode("ascii", "replace")[:45]
            pid = int(read_file(f"/proc/{pid}/stat").rpartition(b")")[2].split()[1])
        except (OSError, ForeignError, ValueError, IndexError):
            break
        if pid < 2:
            break
    return LOCAL


def holder(name: str) -> str | None:
    """Return who holds a lock, since when and for what; None if nobody does. To ask takes nothing."""
    try:
        descriptor = os.open(FOLDER / f"{name}.lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)  # a unit that may not write here may ask too
    except FileNotFoundError:
        return None
    try:
        if _lock(fcntl.F_OFD_GETLK, descriptor) == fcntl.F_UNLCK:
            return None
        return printable(os.pread(descriptor, 500, 0)) or "somebody"
    finally:
        os.close(descriptor)


def taken(descriptor: int, wait: float) -> bool:
    """Take the lock of an open file itself until it is closed; return whether that was possible within WAIT seconds. Who may read it can be in the way."""
    return _within(lambda: _lock(fcntl.F_OFD_SETLK, descriptor), time.monotonic() + wait)


@contextlib.contextmanager
def directories(*paths: Path, wait: float) -> Iterator[None]:
    """Hold the locks of directories meanwhile, in this order, as the module oauth_key holds them for whatever it changes in them.

    wait: seconds to wait for somebody else. Raises LockedError.
    """
    deadline = time.monotonic() + wait
    with contextlib.ExitStack() as stack:
        for path in dict.fromkeys(paths):  # two descriptions of one directory would wait for each other
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            # By flock(2), whose lock is another than that of taken().
            if not _within(functools.partial(fcntl.flock, descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB), deadline):
                raise LockedError(f"{path} is locked by somebody who works on the keys in it; wait for the end of a playbook, and try again")
        yield


def _within(take: Callable[[], object], deadline: float) -> bool:
    """Try to take a lock, at least once, until a time of the monotonic clock; return whether that was possible."""
    while True:
        try:
            take()
            return True
        except (BlockingIOError, PermissionError):
            if time.monotonic() >= deadline:
                return False
        time.sleep(POLL)


@contextlib.contextmanager
def held(name: str, what: str, *, wait: float = 0, who: str = "") -> Iterator[int]:
    """Hold a lock meanwhile; yield its descriptor, for a child to hold it too.

    what: what it is held for. wait: seconds to wait for somebody else. who: a person's name; the one behind this process by default.
    Raises LockedError with who holds it since when.
    """
    descriptor = _open(name)
    try:
        if not taken(descriptor, wait):
            raise LockedError(f"the {name} lock is held by {holder(name) or 'somebody who just let go'}")
        since = time.strftime("%H:%M:%S UTC", time.gmtime())
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{who or whoever()}, {what}, since {since}, process {os.getpid()}\n".encode(), 0)
        yield descriptor
    finally:
        os.close(descriptor)
