# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A directory and files in it that can only grow."""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import pwd
import stat
import sys
import tempfile
import typing as t
from dataclasses import dataclass

# ioctl_iflags(2); the numbers of x86, Arm, RISC-V and s390.
FS_IOC_GETFLAGS = 0x80086601
FS_IOC_SETFLAGS = 0x40086602
FS_APPEND_FL = 0x20


class AppendOnlyError(Exception):
    """One sentence for the person who wrote the task."""


@dataclass(frozen=True)
class Wanted:
    """How a directory, or an append-only file, is to be."""

    path: str
    owner: str
    group: str
    mode: int
    directory: bool = False


State = dict[str, t.Any]
ABSENT: State = {"state": "absent"}


def wanted_state(wanted: Wanted) -> State:
    """Return the state that is asked for, as the diff shows it."""
    state: State = {
        "state": "directory" if wanted.directory else "file",
        "owner": wanted.owner,
        "group": wanted.group,
        "mode": f"{wanted.mode:04o}",
    }
    return state if wanted.directory else state | {"append_only": True}


def user_name(uid: int) -> str:
    """Return a user's name, or the number if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Return a group's name, or the number if it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def identifiers(wanted: Wanted) -> tuple[int, int]:
    """Return the numbers of owner and group."""
    try:
        return pwd.getpwnam(wanted.owner).pw_uid, grp.getgrnam(wanted.group).gr_gid
    except KeyError as error:
        raise AppendOnlyError(f"{wanted.path} cannot be given to {wanted.owner}:{wanted.group}: {error.args[0]}.") from None


def is_append_only(descriptor: int) -> bool:
    """Tell whether the file has the append-only flag; a file system without flags has none."""
    try:
        flags = fcntl.ioctl(descriptor, FS_IOC_GETFLAGS, bytes(4))
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            return False
        raise
    return bool(int.from_bytes(flags, sys.byteorder) & FS_APPEND_FL)


def set_append_only(descriptor: int, on: bool) -> None:
    """Set or lift the append-only flag and leave the others as they are."""
    flags = int.from_bytes(fcntl.ioctl(descriptor, FS_IOC_GETFLAGS, bytes(4)), sys.byteorder)
    flags = flags | FS_APPEND_FL if on else flags & ~FS_APPEND_FL
    fcntl.ioctl(descriptor, FS_IOC_SETFLAGS, flags.to_bytes(4, sys.byteorder))


def open_checked(wanted: Wanted) -> int:
    """Open what is there, but nothing that leads elsewhere: whoever owned the directory before may have laid a trap."""
    kind = os.O_DIRECTORY if wanted.directory else os.O_NONBLOCK
    try:
        descriptor = os.open(wanted.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | kind)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            raise AppendOnlyError(f"{wanted.path} is not a {wanted_state(wanted)['state']}.") from None
        raise
    found = os.fstat(descriptor)
    if not wanted.directory and not (stat.S_ISREG(found.st_mode) and found.st_nlink == 1):
        os.close(descriptor)
        raise AppendOnlyError(f"{wanted.path} is not a regular file with one name.")
    return descriptor


def look(wanted: Wanted) -> State:
    """Return the state that is found, as the diff shows it."""
    try:
        descriptor = open_checked(wanted)
    except FileNotFoundError:
        return ABSENT
    try:
        found = os.fstat(descriptor)
        state: State = {
            "state": "directory" if wanted.directory else "file",
            "owner": user_name(found.st_uid),
            "group": group_name(found.st_gid),
            "mode": f"{stat.S_IMODE(found.st_mode):04o}",
        }
        return state if wanted.directory else state | {"append_only": is_append_only(descriptor)}
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
    """Refuse a file system that does not take the append-only flag, or takes it and does not mean it.

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


def processes() -> list[str]:
    """Return the number of every process."""
    return [pid for pid in os.listdir("/proc") if pid.isdigit()]


def writers(path: str, appending: bool) -> list[str]:
    """Return the processes that hold a file open for writing, with O_APPEND or without, as "NAME (pid N)"."""
    wanted = os.stat(path)
    found = []
    for pid in processes():
        try:
            for number in os.listdir(f"/proc/{pid}/fd"):
                if not os.path.samestat(os.stat(f"/proc/{pid}/fd/{number}"), wanted):
                    continue
                with open(f"/proc/{pid}/fdinfo/{number}", encoding="ascii") as info:
                    opened = int(info.read().split("flags:")[1].split()[0], 8)
                if opened & os.O_ACCMODE != os.O_RDONLY and (appending or not opened & os.O_APPEND):
                    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as comm:
                        found.append(f"{comm.read().strip()} (pid {pid})")
                    break
        except (FileNotFoundError, ProcessLookupError):  # closed or ended in the meantime
            continue
        except PermissionError:
            raise AppendOnlyError(f"{path} cannot be made append-only: what process {pid} holds open cannot be seen, CAP_SYS_PTRACE is missing.") from None
    return found


def refuse_busy(wanted: Wanted, before: State) -> None:
    """Refuse what a process that holds the file open would spoil.

    A change of owner or mode needs a window without the flag. What was opened without O_APPEND before the flag is set can
    overwrite the file ever after.
    """
    after = wanted_state(wanted)
    if wanted.directory or before == ABSENT:
        return
    busy = writers(wanted.path, appending=before["append_only"])
    if busy and not before["append_only"]:
        raise AppendOnlyError(
            f"{wanted.path} is held open for writing, without O_APPEND, by {', '.join(busy)}, which could overwrite it ever after: "
            "stop that first and run again."
        )
    if busy:
        raise AppendOnlyError(
            f"{wanted.path} is append-only with {before['owner']}:{before['group']} {before['mode']} instead of "
            f"{after['owner']}:{after['group']} {after['mode']}, which cannot be mended while it is held open for writing by "
            f"{', '.join(busy)}: stop that first and run again."
        )


def apply(wanted: Wanted, before: State) -> None:
    """Make it so."""
    uid, gid = identifiers(wanted)
    if before == ABSENT and wanted.directory:
        os.makedirs(os.path.dirname(wanted.path), exist_ok=True)
        os.mkdir(wanted.path, 0o700)
    elif before == ABSENT:
        os.close(os.open(wanted.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    descriptor = open_checked(wanted)
    try:
        found = os.fstat(descriptor)
        if (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) != (uid, gid, wanted.mode):
            if not wanted.directory and is_append_only(descriptor):
                set_append_only(descriptor, False)
            os.fchown(descriptor, uid, gid)
            os.fchmod(descriptor, wanted.mode)
        os.fsync(descriptor)
    finally:
        try:
            if not wanted.directory:
                set_append_only(descriptor, True)
        finally:
            os.close(descriptor)


def ensure(directory: Wanted, files: list[Wanted], check_mode: bool) -> list[tuple[str, State, State]]:
    """Make the directory and the files as wanted.

    Returns path, state before and state after of everything that had to change; in check mode, would have to.
    Raises AppendOnlyError before anything is changed, if it can be known before.
    """
    everything = [directory, *files]  # the directory first: who can write in it can swap what is in it
    states = [(wanted, look(wanted)) for wanted in everything]
    changes = [(wanted, before) for wanted, before in states if before != wanted_state(wanted)]
    for wanted, before in changes:
        refuse_busy(wanted, before)
    if not check_mode:
        for wanted in everything:
            identifiers(wanted)
    if any(not wanted.directory and not before.get("append_only") for wanted, before in changes):
        probe(directory.path)
    if not check_mode:
        for wanted, before in changes:
            apply(wanted, before)
    return [(wanted.path, before, wanted_state(wanted)) for wanted, before in changes]
