# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This is the same host on another machine: remember the machine that it is on now.

For a host that was moved, got other hardware or another machine-id. If the machine that it was on still runs with the same disk, use nous-vm identity renew.

--json prints {"changed": bool, "machine_id", "product_uuid"}, each empty if it is not known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import events
from ...cli import Result, only_root
from ...machine import machine
from .. import identity

if TYPE_CHECKING:
    import argparse


def run(_arguments: argparse.Namespace) -> Result:
    only_root("decides that")
    known, now = identity.remembered(), machine()
    about = now._asdict()
    if known is not None and known.machine == now:
        return Result({"changed": False} | about, "nothing to do: this is the machine that is remembered")
    identity.remember(now)
    events.record("identity kept", **now.names())
    return Result({"changed": True} | about, "this machine is remembered as the one of this host")
