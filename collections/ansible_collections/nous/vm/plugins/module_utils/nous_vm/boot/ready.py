# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is this host ready? The health check at every boot, and what came of it for who logs in and, when it is news, on the console.

nous-vm-ready.service runs it until the check passes, and again when the release or the key has changed. nous-vm-ready.target is reached when it has ended well.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from ..atomic import write
from ..names import CONFIGURATION
from ..overview import Overview, overview

MOTD = Path("/run/motd.d/nous-vm")
SHOWN = 8  # rows that failed
LABELS = ("nous", "release", "key", "gateway")


class Configuration(NamedTuple):
    """What /etc/nous-vm/boot.json holds."""

    url: str


def configuration() -> Configuration:
    """Return the configuration that the playbook site wrote."""
    return Configuration(**json.loads((CONFIGURATION / "boot.json").read_bytes()))


def message(found: Overview) -> str:
    """Return what a person wants to know of a host that is in its expected state, or what is not."""
    if not found.healthy:
        failed = [f"{row.part}: {row.name}: {row.detail}" for row in found.attention if row.status == "fail"]
        more = [f"{len(failed) - SHOWN} more: sudo nous-vm status"] if len(failed) > SHOWN else []
        return f"nous at {found.lines.get('nous', 'an unknown URL')} is NOT ready: {'; '.join(failed[:SHOWN] + more)}\n"
    return "".join(f"{label:8} {found.lines.get(label, 'unknown')}\n" for label in LABELS)


def ready() -> tuple[bool, str]:
    """Run the check; return whether the host is ready, and what is to be printed: nothing if the message of the day has it already."""
    found = overview()
    text = message(found)
    if MOTD.exists() and MOTD.read_text(encoding="utf-8") == text:
        return found.healthy, ""
    MOTD.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    write(MOTD, text.encode(), 0o644)
    return found.healthy, text
