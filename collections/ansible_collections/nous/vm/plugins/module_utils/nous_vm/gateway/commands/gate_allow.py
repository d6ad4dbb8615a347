# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Allow an address for a time, besides the inventory's allow list: yours if you came by ssh ("me"), or another.

It is gone after its time, also across reboots, and nous-vm gate forget removes it before. A run of the site leaves it alone.
--json prints {"network", "until": seconds since the epoch, "by"}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import events, locks
from ...cli import Result, only_root
from ...errors import NousVmError
from ..allowed import allow, seconds
from ..reload import reload

if TYPE_CHECKING:
    import argparse

EXAMPLE = "sudo nous-vm gate allow me --for 12h"
WAIT = 60.0  # seconds for somebody else


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", metavar="ADDRESS", help="me, an address, or a network")
    parser.add_argument("--for", dest="time", default="12h", metavar="TIME", help="how long, 1m to 7d (default: 12h)")


def run(arguments: argparse.Namespace) -> Result:
    only_root("changes the gateway")
    lasting = seconds(arguments.time)
    with locks.held("gateway", "gate allow", wait=WAIT):
        made = allow(arguments.address, lasting)
        applied()
    events.record("address allowed", network=made.network, until=made.until)
    return Result(made._asdict(), f"{made}")


def applied() -> None:
    """Have Caddy take it. Raises NousVmError."""
    if fault := reload().fault:
        raise NousVmError(fault)
