# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A source in an archive."""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from pathlib import Path

from .tools import BuildError


def verify(archive: Path, sha256: str) -> None:
    """Raise BuildError for an archive that is another than was meant."""
    with archive.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise BuildError(f"error: {archive} is not the one that was meant: its sha256 is another")


def unpack(archive: Path, tree: Path) -> None:
    """Unpack a source archive, whose one folder is the source; raise BuildError if it is none."""
    aside = tree.with_name("unpacked")
    try:
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(aside, filter="data")
    except (EOFError, tarfile.TarError, zlib.error) as error:
        raise BuildError(f"error: {archive.name}: {error}") from error
    top = list(aside.iterdir())
    if len(top) != 1 or not top[0].is_dir():
        raise BuildError(f"error: {archive.name} has not one folder at its top: {', '.join(sorted(path.name for path in top)[:3])}")
    top[0].rename(tree)
    aside.rmdir()
