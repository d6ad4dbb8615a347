# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Record the clients that the server has and no enrolment let in as yours: of a server that was taken over, or of a backup that was restored.

--json prints {"adopted": [client ID]}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import events, locks
from ...cli import Result, only_root
from .. import record
from ..configuration import load
from ..listing import listing

if TYPE_CHECKING:
    import argparse

EXAMPLE = "sudo nous-vm clients adopt --restored"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--restored", action="store_true", help="they came with a backup")


def run(arguments: argparse.Namespace) -> Result:
    only_root("records clients")
    how = record.RESTORED if arguments.restored else record.ADOPTED
    with locks.held("clients", "adopt"):
        known = listing(load())
        found = {each["client_id"]: each["name"] or each["client_id"] for each in known if each["registered"] and not each["let_in"]}
        for client_id, name in found.items():
            record.keep(client_id, record.entry(name, how))
        record.forget(each["client_id"] for each in known if not each["registered"])
        if found:
            events.record(f"client {how}", clients=", ".join(found))
    return Result({"adopted": list(found)}, f"{how}: {', '.join(found.values()) or 'none'}")
