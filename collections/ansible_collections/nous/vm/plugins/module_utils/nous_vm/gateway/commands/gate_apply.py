# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the gateway's configuration on disk into service and verify it, or roll back to the one that was verified last.

--json prints {"applied": bool, "rolled_back": bool, "message": what is wrong, empty if nothing}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import locks
from ...cli import Result
from ..apply import WAIT, apply

if TYPE_CHECKING:
    import argparse

INTERNAL = True
EXAMPLE = "sudo nous-vm gate apply"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--confirm", type=float, default=0, metavar="SECONDS", help="roll back unless nous-vm gate confirm comes in that time")


def run(arguments: argparse.Namespace) -> Result:
    with locks.held("gateway", "gate apply", wait=WAIT):
        outcome = apply(arguments.confirm)
    document = {"applied": not outcome.fault, "rolled_back": outcome.rolled_back, "message": outcome.fault}
    return Result(document, outcome.fault or "the gateway is ready", 1 if outcome.fault else 0)
