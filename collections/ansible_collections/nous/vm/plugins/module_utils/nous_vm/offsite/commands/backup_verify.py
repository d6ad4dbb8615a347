# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify a set that was restored into a folder: nous-vm backup drill runs this in a sandbox.

--json prints {"faults": []}.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...cli import Result

if TYPE_CHECKING:
    import argparse

INTERNAL = True


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="the folder that it was restored into")


def run(arguments: argparse.Namespace) -> Result:
    from ..configuration import load
    from ..verify import faults

    found = list(faults(load(), arguments.folder))
    return Result({"faults": found}, "\n".join(found) or "it is as it was saved", 1 if found else 0)
