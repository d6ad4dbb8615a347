# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A source in an archive, unpacked by an account that owns nothing."""

from __future__ import annotations

import tarfile
import zlib
from pathlib import Path

from .tools import BuildError


def unpack(archive: Path, tree: Path) -> None:
    """Unpack a source archive, whose one folder is the source; raise BuildError if it is none."""
    aside = tree.with_name("unpacked")
    try:
        with tarfile.open(archive, "r:gz") as tar:
            tar.extractall(aside, filter="data")
    except (EOFError, tarfile.TarError, zlib.error, OSError) as error:
        raise BuildError(f"error: {archive.name}: {error}") from error
    top = list(aside.iterdir())
    if len(top) != 1 or not top[0].is_dir() or top[0].is_symlink():
        raise BuildError(f"error: {archive.name} has not one folder at its top: {', '.join(sorted(path.name for path in top)[:3])}")
    top[0].rename(tree)
    aside.rmdir()
