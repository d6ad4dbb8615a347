# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archives of a log: numbered by logrotate, read-only and immutable."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from pathlib import Path

from .. import inodes
from ..errors import NousVmError
from .log import Log
from .records import BLOCK
from .segment import ARCHIVE_MODE
from .steps import Steps


def archives(log: Log) -> list[Path]:
    """Return the archives of a log, the newest first."""
    pattern = re.compile(rf"{re.escape(log.live.name)}\.([0-9]+)(\.gz)?")
    matches = [match for match in map(pattern.fullmatch, os.listdir(log.config.directory)) if match]
    return [log.config.directory / match[0] for match in sorted(matches, key=lambda match: int(match[1]))]


def mutable(log: Log) -> list[Path]:
    """Return the archives that are not immutable."""
    return [path for path in archives(log) if not inodes.flags(path) & inodes.IMMUTABLE]


def protect(log: Log, steps: Steps) -> None:
    """Make every archive read-only and immutable."""
    found = mutable(log)
    for path in found:
        os.chown(path, log.config.uid, log.config.gid)
        os.chmod(path, ARCHIVE_MODE)
        inodes.change(path, on=inodes.IMMUTABLE)
    if found:
        steps.add("immutable", f"{len(found)} archives of {log.live}")


def unlock(log: Log, steps: Steps) -> None:
    """Lift the immutable flag: logrotate renames every archive, and leaves them half-shifted if one of them cannot be renamed."""
    found = archives(log)
    for path in found:
        inodes.change(path, off=inodes.IMMUTABLE)
    steps.add("unlock", f"{len(found)} archives of {log.live}")


def drop_incomplete(log: Log, steps: Steps) -> None:
    """Remove what a logrotate that was killed while it compressed made of an archive that is still there."""
    for plain in archives(log):
        compressed = plain.with_name(f"{plain.name}.gz")
        if not compressed.exists():
            continue
        if not is_made_of(compressed, plain):
            raise NousVmError(f"{compressed} holds other records than {plain}: move one of them away")
        inodes.change(compressed, off=inodes.IMMUTABLE)
        compressed.unlink()
        steps.add("drop", f"{compressed}, which was made of {plain} and is not complete")


def is_made_of(compressed: Path, plain: Path) -> bool:
    """Tell whether a file that was perhaps not written to its end holds nothing but what the plain one begins with."""
    with gzip.open(compressed) as made, open(plain, "rb") as origin:
        try:
            while block := made.read(BLOCK):
                if block != origin.read(len(block)):
                    return False
        except (EOFError, gzip.BadGzipFile, zlib.error):
            pass
    return True
