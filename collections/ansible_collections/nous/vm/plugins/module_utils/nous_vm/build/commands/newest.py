# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Query the repository for the newest commit of the branch; nothing is built.

--json prints {"commit"}, or {"message"} if nobody can tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result
from ..configuration import PATH, load
from ..unit import newest_commit

if TYPE_CHECKING:
    import argparse

INTERNAL = True


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", default=str(PATH), metavar="FILE", help=f"which repository, instead of {PATH}")


def run(arguments: argparse.Namespace) -> Result:
    commit = newest_commit(load(arguments.config))
    return Result({"commit": commit}, commit)
