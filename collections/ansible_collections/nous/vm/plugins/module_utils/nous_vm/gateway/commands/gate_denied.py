# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who was denied, by address, how often, and what they asked for last.

address: not on the allow list. host: a name that the gateway does not serve. path: a request that names none.
--json prints {"hours": number, "denied": [{"address", "times", "last": {"time" (seconds since the epoch), "method", "target", "reason"},
"client": bool, whether it looks like an MCP client}],
"unreadable": [why a file of the access log cannot be read]}.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ...cli import Result, only_root
from ..counted import denied_since
from ..denials import is_client, shown

if TYPE_CHECKING:
    import argparse

EXAMPLE = "sudo nous-vm gate denied --hours 24"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hours", type=float, default=1, help="how far to look back (default: 1)")


def run(arguments: argparse.Namespace) -> Result:
    only_root("sees who was denied")
    found = denied_since(time.time() - arguments.hours * 3600)
    lines = [shown(address, times, last) for address, (times, last) in found.addresses.items()] or [f"nobody was denied in the last {arguments.hours:g} h"]
    document = {
        "hours": arguments.hours,
        "denied": [
            {
                "address": address,
                "times": times,
                "last": {"time": last.when, "method": last.method, "target": last.target, "reason": last.reason},
                "client": is_client(last),
            }
            for address, (times, last) in found.addresses.items()
        ],
        "unreadable": found.unreadable,
    }
    return Result(document, "\n".join([*lines, *(f"not read: {each}" for each in found.unreadable)]))
