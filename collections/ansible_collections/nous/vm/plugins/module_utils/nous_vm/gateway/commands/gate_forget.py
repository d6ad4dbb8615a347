# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Allow an address no longer that was allowed for a time.

--json prints {"forgotten": bool}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import events, locks
from ...cli import Result, only_root
from ..allowed import forget
from .gate_allow import WAIT, applied

if TYPE_CHECKING:
    import argparse

EXAMPLE = "sudo nous-vm gate forget 203.0.113.7"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", metavar="ADDRESS", help="as nous-vm gate list prints it, or me")


def run(arguments: argparse.Namespace) -> Result:
    only_root("changes the gateway")
    with locks.held("gateway", "gate forget", wait=WAIT):
        known = forget(arguments.address)
        applied()
    if known:
        events.record("address forgotten", network=arguments.address)
    return Result({"forgotten": known}, "forgotten" if known else "it was not allowed for a time; the inventory's list is caddy_gateway_operator_cidrs")
