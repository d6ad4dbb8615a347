# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a backup of the database while the server runs. It is never removed by itself.

--json prints {"changed", "backup"}: its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result
from ...errors import NousVmError
from ...events import record
from ...locks import held
from ..configuration import LOCK
from ..deployment import Deployment
from ..operations import back_up
from ..service import service

if TYPE_CHECKING:
    import argparse


def run(_arguments: argparse.Namespace) -> Result:
    known = service()
    with held(LOCK, "backup"):
        if known.configuration.journal.exists():
            Deployment(known).recover()
        try:
            document = back_up(known)
        except OSError as error:
            raise NousVmError(str(error)) from None
    record("backed up", backup=document["backup"])
    return Result(document, f"the backup is {document['backup']}")
