# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send a test to everybody who is told when a row of the check becomes red; exit 1 and why, if it does not arrive.

--json prints {"told": [way], "not_told": {way: reason}}, and "message" if somebody was not told.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ...cli import Result, only_root
from ...errors import UsageError
from .. import configuration, deliver, message

if TYPE_CHECKING:
    import argparse

EXAMPLE = "sudo nous-vm watch test"


def run(_arguments: argparse.Namespace) -> Result:
    only_root("may use the URL")
    config = configuration.load()
    ways = deliver.ways(config)
    if not ways:
        raise UsageError("nobody is told of anything on this host; set host_watch_alert_url or host_watch_alert_command")
    not_told = {}
    for way in ways:
        try:
            deliver.deliver(config, way, message.test(time.time()))
        except deliver.NotTold as error:
            not_told[way] = f"{error}{f': {error.printed}' if error.printed else ''}"
    told = [way for way in ways if way not in not_told]
    about: dict[str, Any] = {"told": told, "not_told": not_told}
    if not_told:
        about["message"] = "; ".join(f"the {way} was not told: {reason}" for way, reason in not_told.items())
    return Result(about, about.get("message", f"told: {', '.join(told)}"), 1 if not_told else 0)
