# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put a backup of the database back, and deploy the release that it was made under.

Everything that was written since is gone from the database; a backup of it as it was just before is made first.
--json prints what deploy prints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result
from ..operations import restore
from ..service import service
from ..transient import here, in_unit, result

if TYPE_CHECKING:
    import argparse

EXAMPLE = "sudo nous-vm restore git-0123456789ab-py3.13-20260101T000000Z"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("backup", help="its name, as releases prints it")
    parser.add_argument("--here", action="store_true", help="in this process, which is a unit of its own already")


def run(arguments: argparse.Namespace) -> Result:
    known, words = service(), ["restore", arguments.backup]
    document = here(known, words, lambda: restore(known, arguments.backup)) if arguments.here else in_unit(known, words)
    return result(document, f"{document.get('release')} is deployed, with {arguments.backup}")
