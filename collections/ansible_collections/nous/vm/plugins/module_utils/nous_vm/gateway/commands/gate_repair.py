# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Put back what was verified last, where an upgrade of Caddy's package has put its own Caddyfile; a unit does so when that file changes.

What a person wrote is left as it is. --json prints {"message": what came of it}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import locks
from ...cli import Result, only_root
from ..apply import WAIT
from ..repair import is_replaced, repair

if TYPE_CHECKING:
    import argparse

EXAMPLE = "sudo nous-vm gate repair"


def run(_arguments: argparse.Namespace) -> Result:
    only_root("changes the gateway")
    if not is_replaced():  # as after each run of the role: no lock for that
        return Result({"message": ""}, "there is nothing to repair")
    with locks.held("gateway", "gate repair", wait=WAIT):
        found = repair()
    return Result({"message": found}, found)
