# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archives of a log: numbered, 1 the newest, read-only and immutable; those before it compressed.

Which name each gets is planned before the freeze, by inode, and done in it: at the thaw the folder is complete, and nothing in it is half done.
"""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

from .. import inodes
from ..errors import NousVmError
from .lines import numbered
from .log import Log
from .records import BLOCK
from .steps import Steps

MODE = 0o440
LEVEL = 6  # of gzip's compression: as gzip(1) has it


def archives(log: Log) -> list[Path]:
    """Return the archives of a log, the newest first."""
    return [path for _number, path in numbered(log.config.directory, log.live.name)]


def mutable(log: Log) -> list[Path]:
    """Return the archives that are not immutable."""
    return [path for path in archives(log) if not inodes.flags(path) & inodes.IMMUTABLE]


def protect(log: Log, steps: Steps) -> None:
    """Make every archive read-only and immutable."""
    found = mutable(log)
    for path in found:
        os.chown(path, log.config.uid, log.config.gid)
        os.chmod(path, MODE)
        inodes.change(path, on=inodes.IMMUTABLE)
    if found:
        steps.add("immutable", f"{len(found)} archives of {log.live}")


def create(log: Log, path: Path) -> int:
    """Make a file that becomes an archive, and return its descriptor. Nobody can write to it but this process."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    os.fchown(descriptor, log.config.uid, log.config.gid)
    os.fchmod(descriptor, MODE)
    return descriptor


def plan(log: Log, steps: Steps) -> list[tuple[int, str]]:
    """Return the new name of every archive by its inode, the oldest first; what is to be compressed is, aside.

    Raises NousVmError if two archives have one number.
    """
    found = numbered(log.config.directory, log.live.name)
    if twice := [path for (number, path), (before, _path) in zip(found[1:], found, strict=False) if number == before]:
        raise NousVmError(f"{twice[0]} and another archive have the same number: move one of them away")
    moves = []
    for number, path in reversed(found):
        inode, target = path.stat().st_ino, log.archive(number + 1, path.suffix if path.suffix == ".gz" else "").name
        if number >= log.config.keep:
            moves.append((inode, f"{log.config.segments.name}/{log.live.name}.gone.{number}"))
        elif number == 1 and path.suffix != ".gz" and log.config.compress:
            moves.append((inode, f"{log.config.segments.name}/{log.live.name}.gone.1"))
            moves.append((_pack(log, path, steps), f"{target}.gz"))
        else:
            moves.append((inode, target))
    return moves


def _pack(log: Log, plain: Path, steps: Steps) -> int:
    """Compress an archive aside, see that it is whole, and return the inode of the result."""
    written = hashlib.sha256()
    with open(create(log, log.packed), "wb") as file, open(plain, "rb") as origin:
        with gzip.GzipFile("", "wb", LEVEL, file, 0) as packed:
            while block := origin.read(BLOCK):
                written.update(block)
                packed.write(block)
        file.flush()
        os.fsync(file.fileno())
        inode, size = os.fstat(file.fileno()).st_ino, os.fstat(file.fileno()).st_size
    with gzip.open(log.packed) as again:
        if hashlib.file_digest(again, "sha256").digest() != written.digest():
            raise NousVmError(f"{log.packed} does not hold what {plain} does: is the disk all right?")
    steps.add("compress", f"{plain}, {size} bytes")
    return inode


def flip(log: Log, moves: list[tuple[int, str]]) -> None:
    """Give the files their new names, those that have them not yet; the units are frozen. Archives are immutable again at the end."""
    folder = log.config.directory
    place = {path.stat().st_ino: path for path in [*archives(log), *log.left_over()]}
    for inode, name in moves:
        source, target = place.get(inode), folder / name
        if source is None:  # a removal was interrupted, and goes on
            continue
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if source != target:
                inodes.change(descriptor, off=inodes.IMMUTABLE)
                os.rename(source, target)
            if target.parent == folder:
                inodes.change(descriptor, on=inodes.IMMUTABLE)
        finally:
            os.close(descriptor)
