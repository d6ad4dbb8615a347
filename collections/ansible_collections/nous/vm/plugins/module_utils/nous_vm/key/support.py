# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a support bundle gets of the signing key, and must not have of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .check import configuration


def secrets() -> Iterator[Path]:
    """Yield the keys: the one that signs, the next one, and what somebody put beside them."""
    path = Path(configuration().path)
    yield from (each for each in sorted(path.parent.glob("*")) if each.is_file())


def folders() -> Iterator[Path]:
    about = configuration()
    yield from (Path(about.path).parent, Path(about.jwks_path).parent)
