# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to write a file: as a whole or not at all, even if the power is cut."""

from __future__ import annotations

import contextlib
import glob
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from .errors import NousVmError

Kind = TypeVar("Kind")


def sync_directory(path: Path) -> None:
    """Have the names in a directory outlast a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def own_directory(path: Path, mode: int = 0o700) -> int:
    """Return a descriptor of a directory that nobody but this user can change what is in; it is made if it is absent. Raises OSError, NousVmError."""
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=mode)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except NotADirectoryError:  # of a symbolic link too
        raise NousVmError(f"{path} is not a directory; move it away") from None
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        os.close(descriptor)
        raise NousVmError(f"{path} belongs to uid {found.st_uid} with mode {found.st_mode & 0o7777:04o}, so that others can change what is in it; move it away")
    return descriptor


def _aside(path: Path) -> Path:
    """Return a name for the next version of a file, and remove what writers that are gone left of theirs.

    The name is this process's own: two that write one file at once do not get in each other's way.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.new"):
        pid = left.name.split(".")[-2]
        if pid == str(os.getpid()) or not Path(f"/proc/{pid}").exists():
            left.unlink(missing_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.new")


def write(path: Path, content: bytes, mode: int = 0o600, owner: tuple[int, int] | None = None, mtime: float | None = None) -> None:
    """Write a file under a name of its own and move it into place once it is on the disk.

    mode: permission bits. owner: uid and gid; of this process by default. mtime: seconds since the epoch; now by default.
    """
    aside = _aside(path)
    try:
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            os.fchmod(file.fileno(), mode)
            if mtime is not None:
                os.utime(file.fileno(), (mtime, mtime))
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_json(path: Path, value: object, mode: int = 0o600) -> None:
    """Write a JSON document that people can read."""
    write(path, (json.dumps(value, indent=4, sort_keys=True) + "\n").encode(), mode)


def symlink(path: Path, target: str | Path) -> None:
    """Make a symbolic link, or point the one that is there elsewhere, in one step."""
    aside = _aside(path)
    aside.symlink_to(target)
    aside.replace(path)
    sync_directory(path.parent)


def read_json(path: Path) -> dict[str, Any]:
    """Return what a JSON file of ours holds, nothing if it is absent or not complete."""
    try:
        return dict(json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def read_as(kind: Callable[..., Kind], path: Path) -> Kind | None:
    """Return what a JSON file of ours holds as a named tuple of KIND; None if there is none, or one with other fields."""
    try:
        return kind(**read_json(path))
    except TypeError:
        return None
