# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves files and folders, over nothing that is there. This module is private to the collection."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import stat
from pathlib import Path

from .nous_vm import inodes
from .nous_vm.atomic import sync_directory
from .nous_vm.errors import NousVmError
from .nous_vm.programs import run

PARTIAL = ".nous-vm-partial"
COPY = 1800.0  # seconds that a copy to another file system gets


def move_all(moves: dict[str, str], private: str | None, check_mode: bool) -> dict[str, str]:
    """Move what is there; return the new paths by those before. Raises OSError, and NousVmError if a copy fails."""
    there = {path: new for path, new in moves.items() if os.path.lexists(path)}
    if private and there and not check_mode:
        _folder(private)
        os.chmod(private, 0o700)
    return {path: _free(new) if check_mode else _move(path, new) for path, new in there.items()}


def _free(path: str) -> str:
    """Return a path that nothing has: this one, or with the first number that is free."""
    return next(each for each in itertools.chain([path], (f"{path}~{number}" for number in itertools.count(1))) if not os.path.lexists(each))


def _move(path: str, new: str) -> str:
    _folder(os.path.dirname(new))
    if stat.S_ISREG(os.lstat(path).st_mode):
        inodes.change(Path(path), off=inodes.APPEND_ONLY | inodes.IMMUTABLE)
    target = _free(new)
    try:
        os.rename(path, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy(path, target)
    for folder in (os.path.dirname(target), os.path.dirname(path)):
        sync_directory(Path(folder))
    return target


def _folder(path: str) -> None:
    """Make a folder, and those above it, for everybody to enter, whatever the umask is."""
    if not os.path.isdir(path):
        _folder(os.path.dirname(path))
        os.mkdir(path)
        os.chmod(path, 0o755)  # noqa: S103 - what is moved keeps its own mode, and what is private has a folder that is


def _copy(path: str, target: str) -> None:
    """Move to another file system: the copy is complete, and on the disk, before anything is removed."""
    partial = target + PARTIAL
    remove(partial)
    done = run(["cp", "--archive", "--no-target-directory", "--", path, partial], timeout=COPY)
    if done.returncode:
        remove(partial)
        raise NousVmError(f"{path} cannot be copied to {target}: {done.complaint}")
    os.sync()
    os.rename(partial, target)
    sync_directory(Path(target).parent)
    remove(path)


def remove(path: str) -> None:
    """Remove a file or a folder, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)
