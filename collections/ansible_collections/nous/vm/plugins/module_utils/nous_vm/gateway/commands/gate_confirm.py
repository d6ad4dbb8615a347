# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Confirm from outside a change of the gateway that waits for it; a run of the site does, from the controller.

--wait only waits until there is one. --json prints {"waits": bool}, or {"confirmed": true}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result
from ..confirmation import confirm, wait

if TYPE_CHECKING:
    import argparse

INTERNAL = True


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--wait", type=float, metavar="SECONDS", help="how long to wait for a change that is to be confirmed")


def run(arguments: argparse.Namespace) -> Result:
    if arguments.wait is not None:
        waits = wait(arguments.wait)
        return Result({"waits": waits}, "a change waits" if waits else "no change waits")
    confirm()
    return Result({"confirmed": True}, "confirmed")
