# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The line of nous-vm status on who is told, and what to do about rows of the check."""

from __future__ import annotations

from collections.abc import Iterator

from . import state, told
from .configuration import load

NEXT_STEPS = {
    "watch": "sudo systemctl enable --now host-watch.timer",
    "alerts": "sudo nous-vm watch test",
    "heartbeat": "sudo journalctl --unit=host-watch.service",
    "space of": "sudo du --one-file-system --max-depth=2 --human-readable / | sort --human-numeric-sort | tail",
    "inodes of": "sudo du --one-file-system --max-depth=2 --inodes / | sort --numeric-sort | tail",
    "failed units": "systemctl --failed",
    "machine": "",  # its detail names both commands
    "clock": "timedatectl status",
    "security updates": "sudo apt update && sudo apt upgrade",
    "unattended upgrades": "",  # its detail names the command
    "reboot": "sudo systemctl reboot",
    "other units": "sudo nous-vm check",
}


def summary() -> Iterator[tuple[str, str]]:
    """Yield who is told."""
    yield "alerts", told.alerts(load(), state.load()).detail
