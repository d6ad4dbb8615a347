# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a command did, step by step: on standard error, which a unit passes to the journal, as it happens."""

from __future__ import annotations

from ..output import complain


class Steps:
    """The steps of one command."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def add(self, name: str, message: str) -> None:
        """Print and keep what was just done."""
        self.made.append(f"{name}: {message}")
        complain(self.made[-1])
