# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Note that a unit failed. Its OnFailure= does it, by host-watch-failed@.service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result, only_root
from ...systemd import systemctl
from .. import failures
from ..configuration import UNIT

if TYPE_CHECKING:
    import argparse

INTERNAL = True
EXAMPLE = "sudo systemctl start host-watch-failed@nous.service"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("unit", metavar="UNIT", help="full name of the unit")


def run(arguments: argparse.Namespace) -> Result:
    only_root("notes it")
    if failures.note(arguments.unit):
        systemctl("start", "--no-block", UNIT)
    return Result({})
