# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that must never be half there, wider open than asked, or somebody else's.

Whatever changes in a directory happens under the lock of that directory, and a name appears or changes in one step,
complete or not at all. So runs that race are one after the other, and a run that is killed anywhere leaves nothing
that the next one cannot tell and put right.

This file is private to the collection: other code must not import it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import re
import secrets
import stat
import typing as t

from ansible_collections.nous.vm.plugins.module_utils._accounts import gid_of, group_name, uid_of, user_name
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key.jwk import KeyProblem

MAX_BYTES = 64 * 1024  # a 16384 bit RSA key takes 12.5 kB


# ---- Permissions


class Permissions(t.NamedTuple):
    """Owner and group as numbers, NOBODY_YET for one that is still to be made, and permission bits."""

    uid: int
    gid: int
    mode: int

    @classmethod
    def named(cls, owner: str, group: str, mode: int) -> Permissions:
        """Return permissions by names or numbers."""
        return cls(uid_of(owner), gid_of(group), mode)

    @classmethod
    def of(cls, status: os.stat_result) -> Permissions:
        """Return the permissions of a file."""
        return cls(status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))

    def shown(self) -> dict[str, str]:
        """Return them for a person."""
        return {"owner": user_name(self.uid), "group": group_name(self.gid), "mode": f"{self.mode:04o}"}


# ---- Directories


def _open_to_others(status: os.stat_result) -> bool:
    return bool(status.st_mode & 0o022)


def _unfinished(status: os.stat_result) -> bool:
    """Tell a directory that a run was killed over: it is made without a right to enter it, which is granted last."""
    return not status.st_mode & 0o111


def _judge_directory(directory: str, status: os.stat_result, trusted: set[int]) -> None:
    """Reject a directory in which somebody who is not trusted could swap what lies in it."""
    if stat.S_ISLNK(status.st_mode):
        raise KeyProblem(f"{directory} is a symbolic link; name the file by its real path, below {os.path.realpath(directory)}.")
    if not stat.S_ISDIR(status.st_mode):
        raise KeyProblem(f"{directory} is not a directory; move it away, or choose another path.")
    if status.st_uid not in trusted:
        raise KeyProblem(
            f"{directory} belongs to {user_name(status.st_uid)}, who could swap the key; give it to root or to the key's owner, or choose another path."
        )
    if _open_to_others(status) and not status.st_mode & stat.S_ISVTX:
        raise KeyProblem(
            f"{directory} has mode {stat.S_IMODE(status.st_mode):04o}, so that others could swap the key; "
            f"take away their write permission (chmod go-w {directory}), or choose another path."
        )


def missing_directories(directory: str, trusted: set[int]) -> list[str]:
    """Judge the directories on the way; return those that have yet to be made, or finished, outermost first."""
    way = [directory]
    while way[0] != "/":
        way.insert(0, os.path.dirname(way[0]))
    for position, step in enumerate(way):
        try:
            status = os.lstat(step)
        except FileNotFoundError:
            return way[position:]
        _judge_directory(step, status, trusted)
        if _unfinished(status):
            return way[position:]
    return []


@dataclasses.dataclass
class Directories:
    """The directories that a run holds the lock of, until it closes them.

    A directory that is missing is made, unless look_only, and locked before anybody can enter it: so the run that
    makes a directory is the one that fills it. No run waits for a lock while it holds that of an unfinished directory
    or of its parent, and all runs take those of finished ones in the same order. So none waits for ever.
    """

    trusted: set[int]
    look_only: bool
    made: bool = False
    held: list[int] = dataclasses.field(default_factory=list)

    def close(self) -> None:
        """Release all locks."""
        for descriptor in self.held:
            os.close(descriptor)

    def enter(self, directory: str, permissions: Permissions) -> int | None:
        """Return the descriptor of a directory, locked; None for one that is missing and, with look_only, stays so.

        permissions: of a directory that is made; its missing parents belong to this user, with mode 0755.
        """
        while True:
            missing = missing_directories(directory, self.trusted)
            if missing and self.look_only:
                self.made = True
                return None
            descriptor = self._make(missing, permissions) if missing else self._lock(directory)
            if descriptor is not None:
                self.held.append(descriptor)
                return descriptor

    def _lock(self, directory: str) -> int:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            for other in self.held:
                if os.path.samestat(os.fstat(other), os.fstat(descriptor)):
                    # Two descriptions of one directory would wait for each other; a copy has the lock of its original.
                    os.dup2(other, descriptor, inheritable=False)
                    return descriptor
            fcntl.flock(descriptor, fcntl.LOCK_SH if self.look_only else fcntl.LOCK_EX)
        except OSError as error:
            os.close(descriptor)
            raise KeyProblem(
                f"{directory} cannot be locked ({error.strerror}), so that two runs could make two keys; keep the key on a local file system."
            ) from None
        return descriptor

    def _make(self, missing: list[str], permissions: Permissions) -> int | None:
        """Make or finish directories; return the descriptor of the last, or None if another run was faster."""
        with contextlib.ExitStack() as way:
            descriptor = self._lock(os.path.dirname(missing[0]))
            for directory in missing:
                way.callback(os.close, descriptor)
                parent, name = descriptor, os.path.basename(directory)
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o400, dir_fd=parent)
                status = os.stat(name, dir_fd=parent, follow_symlinks=False)
                _judge_directory(directory, status, self.trusted)
                if not _unfinished(status):
                    return None
                descriptor = self._lock(directory)
                try:
                    last = directory == missing[-1]
                    owner, group = (permissions.uid, permissions.gid) if last else (os.geteuid(), os.getegid())
                    os.fchown(descriptor, owner, group)
                    os.fchmod(descriptor, permissions.mode if last else 0o755)
                    os.fsync(descriptor)
                    os.fsync(parent)
                except OSError:
                    os.close(descriptor)
                    raise
                self.made = True
            return descriptor


# ---- Files


class Name:
    """A name in a directory that this run holds the lock of (None: there is no such directory)."""

    def __init__(self, directory: int | None, path: str) -> None:
        self.directory, self.path, self.name = directory, path, os.path.basename(path)

    def status(self) -> os.stat_result | None:
        """Return what is at the name, be it a link that points nowhere; None if nothing is."""
        if self.directory is None:
            return None
        try:
            return os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def shared(self) -> bool:
        """Tell whether others may put files beside it: the directory is a sticky one, else it had been rejected."""
        return self.directory is not None and _open_to_others(os.fstat(self.directory))

    def leftovers(self) -> dict[str, os.stat_result]:
        """Return the temporary files of runs that were killed; with the lock held there are no others."""
        if self.directory is None:
            return {}
        pattern = re.compile(rf"\.{re.escape(self.name)}\.[0-9a-f]{{16}}\.tmp")
        names = sorted(entry for entry in os.listdir(self.directory) if pattern.fullmatch(entry))
        found = {entry: os.stat(entry, dir_fd=self.directory, follow_symlinks=False) for entry in names}
        return {entry: status for entry, status in found.items() if stat.S_ISREG(status.st_mode)}

    def sweep(self, leftovers: t.Iterable[str]) -> None:
        """Remove temporary files."""
        for entry in leftovers:
            os.unlink(entry, dir_fd=self.directory)
        self.sync()

    def create(self, content: bytes, permissions: Permissions) -> bool:
        """Give content a name that it did not have; tell whether it was this run that did."""
        with self._written(content, permissions) as temporary:
            # Unlike rename(2), link(2) never replaces: not even what somebody put there who knows of no lock.
            try:
                os.link(
                    temporary,
                    self.name,
                    src_dir_fd=self.directory,
                    dst_dir_fd=self.directory,
                    follow_symlinks=False,
                )
                made = True
            except FileExistsError:
                made = False
            except OSError as error:
                raise KeyProblem(
                    f"{self.path} cannot be made: its file system takes no hard link ({error.strerror}), without which "
                    "one run could replace the key of another; keep the key on a local file system."
                ) from None
            os.unlink(temporary, dir_fd=self.directory)
            return made

    def replace(self, content: bytes, permissions: Permissions) -> None:
        """Give content the name, whatever had it before."""
        with self._written(content, permissions) as temporary:
            os.rename(temporary, self.name, src_dir_fd=self.directory, dst_dir_fd=self.directory)

    def move_onto(self, other: Name) -> None:
        """Take the place of another name in the same directory, as of now."""
        file = self.open()
        try:
            os.utime(file)
            os.fsync(file)
        finally:
            os.close(file)
        os.rename(self.name, other.name, src_dir_fd=self.directory, dst_dir_fd=self.directory)
        self.sync()

    def open(self) -> int:
        """Open for reading."""
        return os.open(self.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self.directory)

    def read(self) -> bytes:
        """Return the content, as far as a key set can reach."""
        file = self.open()
        try:
            return os.read(file, MAX_BYTES)
        finally:
            os.close(file)

    def permit(self, found: Permissions, wanted: Permissions) -> None:
        """Set owner and mode; in between nobody has more than both before and after."""
        file = self.open()
        try:
            os.fchmod(file, found.mode & wanted.mode)
            os.fchown(file, wanted.uid, wanted.gid)
            os.fchmod(file, wanted.mode)
            os.fsync(file)
        finally:
            os.close(file)

    def judge(self, status: os.stat_result, links: int = 0) -> None:
        """Reject what is not a plain file with one name. links: names of the file that are known to go away."""
        kinds = {
            stat.S_IFLNK: "a symbolic link",
            stat.S_IFIFO: "a FIFO",
            stat.S_IFDIR: "a directory",
            stat.S_IFSOCK: "a socket",
            stat.S_IFCHR: "a character device",
            stat.S_IFBLK: "a block device",
        }
        kind = kinds.get(stat.S_IFMT(status.st_mode))
        if kind is not None:
            raise KeyProblem(f"{self.path} is {kind}, not a plain file; move it away, or choose another path.")
        if status.st_nlink - links > 1:
            raise KeyProblem(
                f"{self.path} has {status.st_nlink - links} hard links, so that the file lies at another name too; "
                f"remove the other name (find / -xdev -samefile {self.path}), or move this one away."
            )

    @contextlib.contextmanager
    def _written(self, content: bytes, permissions: Permissions) -> t.Iterator[str]:
        """Yield the name of a temporary file that is complete and on the disk; remove it if what follows fails."""
        temporary = f".{self.name}.{secrets.token_hex(8)}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        file = os.open(temporary, flags, permissions.mode & 0o600, dir_fd=self.directory)
        try:
            try:
                os.fchown(file, permissions.uid, permissions.gid)
                os.fchmod(file, permissions.mode)
                rest = memoryview(content)
                while rest:
                    written = os.write(file, rest)
                    rest = rest[written:]
                os.fsync(file)
            finally:
                os.close(file)
            yield temporary
        except BaseException:
            os.unlink(temporary, dir_fd=self.directory)
            raise
        finally:
            self.sync()

    def sync(self) -> None:
        """Have all names in the directory on the disk."""
        if self.directory is not None:
            os.fsync(self.directory)
