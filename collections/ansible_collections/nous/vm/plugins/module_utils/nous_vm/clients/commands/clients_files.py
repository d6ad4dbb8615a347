# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and change the server's files on its clients: nous-vm clients runs this as the server's own account.

It reads {"directory", "put": {client ID: record}, "drop": [client ID]} on its standard input. --json prints {"clients", "tokens"}.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ...cli import Result
from ...foreign import parse_json
from ..files import LIMIT, change, read

if TYPE_CHECKING:
    import argparse

INTERNAL = True
EXAMPLE = "nous-vm clients files --json < wanted.json"


def run(_arguments: argparse.Namespace) -> Result:
    wanted = parse_json(sys.stdin.buffer.read(LIMIT), "standard input")
    directory = Path(wanted["directory"])
    if wanted["put"] or wanted["drop"]:
        change(directory, wanted["put"], wanted["drop"])
    return Result(read(directory))
