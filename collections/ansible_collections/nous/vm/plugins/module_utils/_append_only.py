# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A directory and files in it that can only grow."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
import tempfile
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ._accounts import group_name, user_name
from .nous_vm import inodes, processes
from .nous_vm.errors import NousVmError


class AppendOnlyError(NousVmError):
    """One sentence for the person who wrote the task."""


@dataclass(frozen=True)
class Desired:
    """How a directory, or an append-only file, is to be."""

    path: str
    owner: str
    group: str
    mode: int
    directory: bool = False


State = dict[str, t.Any]
ABSENT: State = {"state": "absent"}


def desired_state(desired: Desired) -> State:
    """Return the desired state, as the diff shows it."""
    state: State = {
        "state": "directory" if desired.directory else "file",
        "owner": desired.owner,
        "group": desired.group,
        "mode": f"{desired.mode:04o}",
    }
    return state if desired.directory else state | {"append_only": True}


def identifiers(desired: Desired) -> tuple[int, int]:
    """Return the numbers of owner and group."""
    try:
        return pwd.getpwnam(desired.owner).pw_uid, grp.getgrnam(desired.group).gr_gid
    except KeyError as error:
        raise AppendOnlyError(f"{desired.path} cannot be given to {desired.owner}:{desired.group}: {error.args[0]}.") from None


def is_append_only(descriptor: int) -> bool:
    """Tell whether the file has the append-only flag; a file system without flags has none."""
    return bool(inodes.flags(descriptor) & inodes.APPEND_ONLY)


def set_append_only(descriptor: int, on: bool) -> None:
    """Set or lift the append-only flag and leave the others as they are."""
    inodes.change(descriptor, on=inodes.APPEND_ONLY if on else 0, off=0 if on else inodes.APPEND_ONLY)


def open_checked(desired: Desired) -> int:
    """Open what is there, but nothing that leads elsewhere: whoever owned the directory before may have left a trap."""
    kind = os.O_DIRECTORY if desired.directory else os.O_NONBLOCK
    try:
        descriptor = os.open(desired.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | kind)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            raise AppendOnlyError(f"{desired.path} is not a {desired_state(desired)['state']}.") from None
        raise
    found = os.fstat(descriptor)
    if not desired.directory and not (stat.S_ISREG(found.st_mode) and found.st_nlink == 1):
        os.close(descriptor)
        raise AppendOnlyError(f"{desired.path} is not a regular file with one name.")
    return descriptor


def actual_state(desired: Desired) -> State:
    """Return the actual state, as the diff shows it."""
    try:
        descriptor = open_checked(desired)
    except FileNotFoundError:
        return ABSENT
    try:
        found = os.fstat(descriptor)
        state: State = {
            "state": "directory" if desired.directory else "file",
            "owner": user_name(found.st_uid),
            "group": group_name(found.st_gid),
            "mode": f"{stat.S_IMODE(found.st_mode):04o}",
        }
        return state if desired.directory else state | {"append_only": is_append_only(descriptor)}
    finally:
        os.close(descriptor)


def file_system(path: str, mountinfo: t.Iterable[str]) -> str:
    """Return the type of the file system that an existing path is on, from the lines of /proc/self/mountinfo (proc(5))."""
    best, name = -1, "an unknown file system"
    for line in mountinfo:
        before, _separator, after = line.partition(" - ")
        # The kernel writes blanks and backslashes in a mount point as octal.
        mount = before.split()[4].encode("ascii", "backslashreplace").decode("unicode_escape")
        inside = path == mount or path.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= best:  # of two mounts at one place, the later one is seen
            best, name = len(mount), after.split()[0]
    return name


def probe(directory: str) -> None:
    """Reject a file system that does not take the append-only flag, or takes it and does not mean it.

    The file for it has no name where the file system can do that, so that nothing is left behind, whatever happens.
    """
    place = os.path.realpath(directory)
    while not os.path.isdir(place):
        place = os.path.dirname(place)
    name = None
    try:
        descriptor = os.open(place, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        descriptor, name = tempfile.mkstemp(prefix=".append-only-", dir=place)
    try:
        set_append_only(descriptor, True)
        try:
            os.close(os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_CLOEXEC))
        except PermissionError:
            reason = ""
        else:
            reason = "the flag is taken, but the file can still be overwritten"
        set_append_only(descriptor, False)
    except OSError as error:
        reason = "setting it: " + (os.strerror(error.errno) if error.errno else str(error))
        if error.errno == errno.EPERM:
            reason += ", CAP_LINUX_IMMUTABLE is missing"
    finally:
        os.close(descriptor)
        if name:
            os.unlink(name)
    if reason:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="backslashreplace") as mountinfo:
            kind = file_system(place, mountinfo)
        raise AppendOnlyError(
            f"{directory} would lie on {kind} (at {place}), where files cannot be made append-only ({reason}); "
            "use a directory on a file system that takes chattr +a, for example ext4 or xfs."
        )


def writers(path: str, appending: bool) -> str:
    """Return who holds a file open for writing: those that could overwrite it, or those that append to it too."""
    return ", ".join(str(each) for each in processes.writers(Path(path)) if appending or not each.appends)


def reject_busy(desired: Desired, before: State) -> None:
    """Reject what a process that holds the file open would spoil.

    A change of owner or mode needs a window without the flag. What was opened without O_APPEND before the flag is set can
    overwrite the file ever after.
    """
    after = desired_state(desired)
    if desired.directory or before == ABSENT:
        return
    busy = writers(desired.path, appending=before["append_only"])
    if busy and not before["append_only"]:
        raise AppendOnlyError(
            f"{desired.path} is held open for writing, without O_APPEND, by {busy}, which could overwrite it ever after: stop that first and run again."
        )
    if busy:
        raise AppendOnlyError(
            f"{desired.path} is append-only with {before['owner']}:{before['group']} {before['mode']} instead of "
            f"{after['owner']}:{after['group']} {after['mode']}, which cannot be mended while it is held open for writing by "
            f"{busy}: stop that first and run again."
        )


def apply(desired: Desired, before: State) -> None:
    """Make a directory or a file as desired."""
    uid, gid = identifiers(desired)
    if before == ABSENT and desired.directory:
        os.makedirs(os.path.dirname(desired.path), exist_ok=True)
        os.mkdir(desired.path, 0o700)
    elif before == ABSENT:
        os.close(os.open(desired.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    descriptor = open_checked(desired)
    try:
        found = os.fstat(descriptor)
        if (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) != (uid, gid, desired.mode):
            if not desired.directory and is_append_only(descriptor):
                set_append_only(descriptor, False)
            os.fchown(descriptor, uid, gid)
            os.fchmod(descriptor, desired.mode)
        os.fsync(descriptor)
    finally:
        try:
            if not desired.directory:
                set_append_only(descriptor, True)
        finally:
            os.close(descriptor)


def ensure(directory: Desired, files: list[Desired], check_mode: bool) -> list[tuple[str, State, State]]:
    """Make the directory and the files as desired.

    Returns path, state before and state after of everything that had to change; in check mode, would have to.
    Raises AppendOnlyError before anything is changed, if it can be known before.
    """
    everything = [directory, *files]  # the directory first: who can write in it can swap what is in it
    states = [(desired, actual_state(desired)) for desired in everything]
    changes = [(desired, before) for desired, before in states if before != desired_state(desired)]
    for desired, before in changes:
        reject_busy(desired, before)
    if not check_mode:
        for desired in everything:
            identifiers(desired)
    if any(not desired.directory and not before.get("append_only") for desired, before in changes):
        probe(directory.path)
    if not check_mode:
        for desired, before in changes:
            apply(desired, before)
    return [(desired.path, before, desired_state(desired)) for desired, before in changes]
