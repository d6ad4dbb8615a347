# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roll back to the release before the current one, or to one that is named. The data stays as it is.

What is rolled back from counts as failed, so that the next run of the site does not bring it back.
--json prints what deploy prints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result
from ..operations import roll_back
from ..service import service
from ..transient import here, in_unit, result

if TYPE_CHECKING:
    import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("release", nargs="?", help="a release that is built; without it, the one before")
    parser.add_argument("--here", action="store_true", help="in this process, which is a unit of its own already")


def run(arguments: argparse.Namespace) -> Result:
    known = service()
    words = ["rollback", *([arguments.release] if arguments.release else [])]
    document = here(known, words, lambda: roll_back(known, arguments.release)) if arguments.here else in_unit(known, words)
    return result(document, f"{document.get('release')} is deployed again, after {document.get('previous')}")
