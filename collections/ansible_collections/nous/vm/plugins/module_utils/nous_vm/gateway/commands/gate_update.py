# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the list of networks that was just fetched into service and verify the gateway, or go on with the list from before.

It adds to the inventory's allow list and removes nothing of it. --json prints {"message": what came of it}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import locks
from ...cli import Result, only_root
from ..apply import WAIT
from ..configuration import list_url
from ..fetched import update

if TYPE_CHECKING:
    import argparse

EXAMPLE = "sudo systemctl start nous-gateway-list"


def run(_arguments: argparse.Namespace) -> Result:
    only_root("changes the gateway")
    with locks.held("gateway", "gate update", wait=WAIT):
        found = update(list_url())
    return Result({"message": found}, found)
