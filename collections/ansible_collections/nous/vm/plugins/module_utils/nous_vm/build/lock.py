# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The source's own lock of what it needs, uv.lock."""

from __future__ import annotations

import tomllib
from pathlib import Path

from ..errors import ForeignError
from ..foreign import printable, read_file
from .tools import BuildError

LIMIT = 16 << 20  # bytes of a lock


def check(lock: Path) -> None:
    """Raise BuildError for a lock that names something from a network without a hash; uv would take whatever comes."""
    try:
        packages = tomllib.loads(read_file(lock, LIMIT).decode()).get("package", [])
        for package in packages:
            files = package.get("wheels", []) + ([package["sdist"]] if "sdist" in package else [])
            remote = not {"registry", "url"}.isdisjoint(package.get("source", {}))
            if any("hash" not in file for file in files) or (remote and not files):
                raise BuildError(f"error: uv.lock has no hash for {printable(str(package.get('name')))} {printable(str(package.get('version')))}")
    except (OSError, ValueError, AttributeError, TypeError, ForeignError) as error:
        raise BuildError(f"error: uv.lock cannot be read: {printable(str(error))}") from error
