# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take a client away: its tokens are revoked, and it can get no others.

--json prints {"revoked": [client ID], "tokens": how many were revoked}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import events, locks
from ...cli import Result, only_root
from ...errors import UsageError
from .. import record
from ..configuration import load
from ..enrolment import complete, stop
from ..listing import chosen, listing
from ..revocation import revoke

if TYPE_CHECKING:
    import argparse

EXAMPLE = "sudo nous-vm clients revoke claude"
WAIT = 60.0  # seconds for somebody else


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="its name or its ID, as nous-vm clients list prints them")
    parser.add_argument("--all", action="store_true", help="all clients, and an enrolment that is open")


def run(arguments: argparse.Namespace) -> Result:
    only_root("takes a client away")
    if bool(arguments.name) == arguments.all:
        raise UsageError("name one client, or --all, for example sudo nous-vm clients revoke claude")
    config = load()
    if arguments.all:
        stop()
    with locks.held("clients", "revoke", wait=WAIT):
        if arguments.all:
            complete(config)
        client_ids = [each["client_id"] for each in listing(config)] if arguments.all else chosen(config, arguments.name)
        count = revoke(config, client_ids)
        record.forget(client_ids)
        events.record("client revoked", name=arguments.name or "all", clients=", ".join(client_ids), tokens=count)
    return Result({"revoked": client_ids, "tokens": count}, f"{len(client_ids)} taken away, {count} tokens revoked")
