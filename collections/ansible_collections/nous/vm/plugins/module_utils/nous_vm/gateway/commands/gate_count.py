# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Count who was denied since the last time, into a record that nobody can wear out by being denied: a timer runs this.

--json prints {"lines": how many it wrote}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import locks
from ...cli import Result, only_root
from ..counted import count

if TYPE_CHECKING:
    import argparse

WAIT = 30.0  # seconds for another that counts


def run(_arguments: argparse.Namespace) -> Result:
    only_root("counts who was denied")
    with locks.held("denied", "gate count", wait=WAIT):
        return Result({"lines": count()})
