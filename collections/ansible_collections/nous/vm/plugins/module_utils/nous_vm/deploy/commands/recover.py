# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Complete a deployment that was interrupted, or roll it back, and resume traffic that it paused.

systemd runs it after every operation, and at boot before the server starts (--at-start). While a deployment is under way it does nothing.
--json prints {"changed"}, and {"release", "previous", "reason", "rollback", "journal"} if there was something to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result
from ...errors import LockedError
from ...events import record
from ...locks import held
from ..configuration import LOCK
from ..deployment import Deployment
from ..service import service

if TYPE_CHECKING:
    import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--at-start", action="store_true", help="the server's own start waits for this")


def run(arguments: argparse.Namespace) -> Result:
    known = service()
    try:
        with held(LOCK, "recover"):
            document = Deployment(known).recover(arguments.at_start)
    except LockedError:  # nothing was interrupted: it is under way
        return Result({"changed": False}, "a deployment is under way")
    if not document["changed"]:
        return Result(document, "nothing was interrupted")
    about = {key: document.get(key) for key in ("release", "previous")}
    failed = document.get("reason") and document["rollback"] is None
    record("rolled back" if document.get("reason") else "deployed", "failed" if failed else "done", why=document.get("reason"), **about)
    return Result(document, f"{document['reason']}; {document.get('rollback')}" if document.get("reason") else f"{document['release']} is deployed")
