# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows on space and inodes of each file system in use."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..foreign import printable, read_file
from ..health import Row

MOUNTS = Path("/proc/self/mountinfo")
KINDS = ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "overlay", "vfat")  # what holds data of a host
MOST = 50  # file systems that are looked at
GIB = 1 << 30
LITTLE, SOME = (0.05, GIB), (0.10, 4 * GIB)  # what fails, and what warns: less than this part of it, and less than so many bytes


class FileSystem(NamedTuple):
    """A file system that can be written to: where it is seen, and how much of it is free."""

    place: str
    size: int
    free: int
    inodes: int
    free_inodes: int


def mounted() -> list[str]:
    """Return where file systems can be written to, each once, at the shortest of its places."""
    places: dict[str, str] = {}
    for line in read_file(MOUNTS).decode("utf-8", "replace").splitlines():
        first, _dash, second = line.partition(" - ")
        device, place, options = first.split()[2], _unescaped(first.split()[4]), second.split()[2]
        if second.split()[0] in KINDS and "ro" not in options.split(","):
            known = places.setdefault(device, place)
            places[device] = min(known, place, key=len)
    return sorted(places.values())[:MOST]


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def file_systems() -> Iterator[FileSystem]:
    """Yield the file systems in use that are directories: a file that is mounted is another's."""
    for place in mounted():
        try:
            found = os.statvfs(place) if os.path.isdir(place) else None
        except OSError:  # unmounted meanwhile, or not to be seen
            continue
        if found is not None and found.f_blocks:
            yield FileSystem(place, found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, found.f_files, found.f_favail)


def check() -> Iterator[Row]:
    """Yield the rows."""
    for each in file_systems():
        place = printable(each.place, 100)
        used = each.free / each.size
        detail = f"{each.free / GIB:.1f} of {each.size / GIB:.1f} GiB free"
        yield Row(f"space of {place}", _judged(used, each.free), detail)
        if each.inodes:
            part = each.free_inodes / each.inodes
            yield Row(f"inodes of {place}", "fail" if part < LITTLE[0] else "warn" if part < SOME[0] else "ok", f"{part:.0%} of {each.inodes} free")


def _judged(part: float, free: int) -> str:
    for status, (least, least_bytes) in (("fail", LITTLE), ("warn", SOME)):
        if part < least and free < least_bytes:
            return status
    return "ok"
