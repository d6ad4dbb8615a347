# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the audit commands have in common: which rotation, its lock, and what came of it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

from .. import locks
from ..cli import Result, only_root
from ..errors import InterruptedWork, NousVmError
from .configuration import Configuration, load, named
from .rotation import Rotation, interrupted
from .steps import Steps

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

LOCK_WAIT = 60.0  # seconds for another command to end


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says which rotation it is."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--name", default="nous", help="the rotation, as in /etc/nous-vm/audit/NAME.json (default: nous)")
    which.add_argument("--config", type=Path, help="its configuration, if it lies elsewhere")


def configuration(arguments: argparse.Namespace) -> Configuration:
    """Return the configuration that the arguments name. Raises UsageError."""
    only_root("may do this")
    return load(arguments.config) if arguments.config else named(arguments.name)


def change(arguments: argparse.Namespace, what: str, work: Callable[[Rotation], None]) -> Result:
    """Do what changes a log or its archives, while no other command does. Raises InterruptedWork if recover has to complete it."""
    config, steps = configuration(arguments), Steps()
    signal.signal(signal.SIGTERM, _exit)
    try:
        config.segments.mkdir(mode=0o700, exist_ok=True)
        with locks.held(f"rotation-{config.name}", what, wait=LOCK_WAIT):
            work(Rotation(config, steps))
    except (NousVmError, OSError) as error:
        if interrupted(config):
            raise InterruptedWork(f"{error}; nous-vm audit recover completes it") from error
        raise
    return Result({"name": config.name, "changed": bool(steps.made), "steps": steps.made}, "" if steps.made else "nothing to do")


def _exit(_number: int, _frame: object) -> None:
    """End with what is cleaned up on the way out: the units are thawed."""
    raise SystemExit(InterruptedWork.exit_code)
