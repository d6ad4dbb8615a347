# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a support bundle gets of the rotations, and must not have of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .checkpoint_rows import settings
from .configuration import everything


def secrets() -> Iterator[Path]:
    """Yield the keys that checkpoints are signed with."""
    for config in everything():
        if about := settings(config):
            yield from sorted(Path(about["key"]).parent.glob("*"))


def folders() -> Iterator[Path]:
    for config in everything():
        yield config.directory
        if about := settings(config):
            yield Path(about["key"]).parent
