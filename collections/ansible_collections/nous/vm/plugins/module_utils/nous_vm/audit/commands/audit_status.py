# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a log, its archives and its units are. Exit code 1 if something is not as expected.

--json prints {"name", "healthy": bool, "problems": [sentence], "logs": [{"path", "bytes", "archives": number, "writers": [process]}], "message"?}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result
from ..invocation import add_arguments, configuration
from ..rotation import Rotation
from ..steps import Steps

if TYPE_CHECKING:
    import argparse

EXAMPLE = "sudo nous-vm audit status --name nous"
arguments = add_arguments


def run(arguments: argparse.Namespace) -> Result:
    found = Rotation(configuration(arguments), Steps()).status()
    lines = [f"{one['path']}: {one['bytes']} bytes, {one['archives']} archives; writers: {', '.join(one['writers']) or 'none'}" for one in found["logs"]]
    if found["problems"]:
        found["message"] = "; ".join(found["problems"])
    return Result(found, "\n".join([*lines, *found["problems"]]), 0 if found["healthy"] else 1)
