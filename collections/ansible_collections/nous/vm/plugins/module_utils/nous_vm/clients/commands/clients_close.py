# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Close the enrolment that is open, and complete one that was interrupted.

--json prints {}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import locks
from ...cli import Result, only_root
from ..configuration import load
from ..enrolment import complete, stop

if TYPE_CHECKING:
    import argparse

WAIT = 60.0  # seconds for an enrolment that is just being opened


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ended", action="store_true", help="its unit has ended already, and runs this")


def run(arguments: argparse.Namespace) -> Result:
    only_root("closes an enrolment")
    if not arguments.ended:
        stop()
    with locks.held("clients", "close", wait=WAIT):
        complete(load())
    return Result({}, "" if arguments.ended else "no enrolment is open")
