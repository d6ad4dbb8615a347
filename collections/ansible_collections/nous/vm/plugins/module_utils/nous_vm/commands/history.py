# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happened on this host: deployments, rollbacks, rotations, pauses, with who did it from where.

--json prints {"events": [{"time", "event", "result", "user", "from", ...}]}, the latest last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..cli import Result
from ..errors import UsageError
from ..events import history
from ..foreign import printable

if TYPE_CHECKING:
    import argparse

EXAMPLE = "sudo nous-vm history --count 50"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=20, metavar="NUMBER", help="how many events, at least 1 (default: 20)")


def run(arguments: argparse.Namespace) -> Result:
    if arguments.count < 1:
        raise UsageError(f"--count is {arguments.count}; allowed are numbers from 1 on, for example 50")
    found = history(arguments.count)
    known = ("time", "event", "result", "user", "from")
    lines = []
    for event in found:
        about = ", ".join(f"{key} {value}" for key, value in event.items() if key not in known)
        shown = [printable(str(event.get(key, ""))) for key in known]
        lines.append(f"{shown[0]}  {shown[1]:<14} {shown[2]:<8} by {shown[3]} from {shown[4]}{f': {printable(about)}' if about else ''}")
    return Result({"events": found}, "\n".join(lines) or "nothing was recorded yet")
