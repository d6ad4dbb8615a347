# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restart the server as it was deployed, with the secrets and credentials that are there now. One that somebody stopped stays stopped.

What the role wrote and was not deployed is not used: nous-vm deploy current does that.

--json prints what deploy prints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result
from ..operations import restart
from ..service import service
from ..transient import here, in_unit, result

if TYPE_CHECKING:
    import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--here", action="store_true", help="in this process, which is a unit of its own already")


def run(arguments: argparse.Namespace) -> Result:
    known = service()
    document = here(known, ["restart"], lambda: restart(known)) if arguments.here else in_unit(known, ["restart"])
    done = "was restarted" if document.get("changed") else "does not run, and stays stopped"
    return result(document, f"{document.get('release')} {done}")
