# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The line of nous-vm status on where nous is."""

from __future__ import annotations

from collections.abc import Iterator

from .ready import configuration


def summary() -> Iterator[tuple[str, str]]:
    """Yield the URL."""
    yield "nous", configuration().url
