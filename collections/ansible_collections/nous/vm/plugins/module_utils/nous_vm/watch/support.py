# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a support bundle must not have of the watch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .configuration import SECRETS


def secrets() -> Iterator[Path]:
    """Yield the files of the URLs."""
    yield from sorted(SECRETS.glob("*"))
