# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Freeze the units of a rotation for it, and thaw them whatever becomes of it; rotate and recover start this in a unit of its own.

--json prints {}.
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

from ... import locks
from ...cli import Result
from ...errors import end
from ..freezer import LIMIT, Freezer, connected

if TYPE_CHECKING:
    import argparse

INTERNAL = True
EXAMPLE = "nous-vm audit freezer --name nous --socket SOCKET --cgroup /system.slice/nous.service --log /var/log/nous/audit.jsonl"
WAIT = 2 * LIMIT  # seconds for the freezer of a rotation that was killed


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, help="the rotation")
    parser.add_argument("--socket", type=Path, required=True, help="where the rotation listens")
    parser.add_argument("--cgroup", action="append", default=[], help="what is frozen, as a path below /sys/fs/cgroup")
    parser.add_argument("--log", action="append", type=Path, default=[], help="what is made append-only before the thaw")


def run(arguments: argparse.Namespace) -> Result:
    signal.signal(signal.SIGTERM, end)  # so that the rotation is ended and the units are thawed on the way out
    with locks.held(f"freezer-{arguments.name}", "freeze", wait=WAIT), connected(arguments.socket, WAIT) as rotation:
        Freezer(rotation, arguments.cgroup, arguments.log).serve()
    return Result({})
