# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep room for a log, and reject traffic while answers would not be recorded; a unit of its own runs this.

--json prints {}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result
from ..guard import Guard
from ..invocation import add_arguments, configuration

if TYPE_CHECKING:
    import argparse

INTERNAL = True
EXAMPLE = "sudo nous-vm audit guard --name nous"
arguments = add_arguments


def run(arguments: argparse.Namespace) -> Result:
    guard = Guard(configuration(arguments))
    while True:
        guard.turn()
