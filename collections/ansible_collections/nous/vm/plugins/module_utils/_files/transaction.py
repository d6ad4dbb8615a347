# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps that change the disk and can be rolled back."""

from __future__ import annotations

import contextlib
import functools
import os
import typing as t

from . import disk

if t.TYPE_CHECKING:
    from collections.abc import Callable

    from .disk import Owner


class Transaction:
    """Steps that change the disk. at: the path that is being changed."""

    def __init__(self) -> None:
        self.at = ""
        self.back: list[tuple[str, Callable[[], None]]] = []
        self.second_names: list[tuple[str, int]] = []
        self.touched: set[int] = set()

    def remove(self, name: str, directory: int) -> None:
        """Remove what a killed run left; it cannot be rolled back, and need not be."""
        disk.remove(name, directory)
        self.touched.add(directory)

    def make_directory(self, name: str, directory: int, owner: Owner) -> int:
        """Make a directory; return its descriptor."""
        new = self.temporary(name, directory)
        os.mkdir(new, 0o700, dir_fd=directory)
        disk.set_owner(new, directory, owner)
        self.move(new, name, directory, functools.partial(disk.remove, name, directory))
        return disk.open_directory(name, directory)

    def set_owner(self, name: str, directory: int, owner: Owner, before: Owner) -> None:
        """Set owner and mode of what is there."""
        self.back.append((f"{self.at} could not be put back", functools.partial(disk.set_owner, name, directory, before)))
        disk.set_owner(name, directory, owner)

    def prepare(self, name: str, directory: int, content: bytes, owner: Owner) -> str:
        """Write a file under a temporary name; return that."""
        new = self.temporary(name, directory)
        disk.write(new, directory, content, owner)
        return new

    def keep(self, name: str, directory: int) -> str:
        """Give a file a second name; return that."""
        old = self.temporary(name, directory)
        os.link(name, old, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
        self.second_names.append((old, directory))
        return old

    def replace(self, name: str, directory: int, new: str, old: str | None) -> None:
        """Move a file into place; old is the second name of what is there."""
        if old is None:
            self.move(new, name, directory, functools.partial(disk.remove, name, directory))
        else:
            put_back = functools.partial(os.rename, old, name, src_dir_fd=directory, dst_dir_fd=directory)
            self.move(new, name, directory, put_back)

    def temporary(self, name: str, directory: int) -> str:
        """Return a temporary name; a rollback removes what has it."""
        temporary = f".{name}.{os.urandom(8).hex()}.nous-vm"
        path = os.path.join(os.path.dirname(self.at), temporary)
        self.back.append((f"{path} could not be removed", functools.partial(disk.remove, temporary, directory)))
        return temporary

    def move(self, new: str, name: str, directory: int, put_back: Callable[[], None]) -> None:
        os.rename(new, name, src_dir_fd=directory, dst_dir_fd=directory)
        self.back.append((f"{self.at} could not be put back", put_back))
        self.touched.add(directory)

    def finish(self) -> None:
        """Sync all names to the disk; then nothing can be rolled back."""
        for directory in self.touched:
            os.fsync(directory)
        self.back.clear()
        for name, directory in self.second_names:
            with contextlib.suppress(OSError):  # the next run finds it
                disk.remove(name, directory)

    def put_back(self) -> list[str]:
        """Go back, step by step; return what could not be done, and why."""
        lost = []
        for failure, step in reversed(self.back):
            try:
                step()
            except OSError as error:
                lost.append(f"{failure} ({error.strerror})")
        for directory in self.touched:
            with contextlib.suppress(OSError):
                os.fsync(directory)
        return lost
