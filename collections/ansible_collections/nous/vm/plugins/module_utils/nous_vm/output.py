# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to a terminal or a journal: a line at a time, at once. Foreign text comes here by way of foreign.printable."""

from __future__ import annotations

import sys


def write(text: str) -> None:
    """Print to standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Print to standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
