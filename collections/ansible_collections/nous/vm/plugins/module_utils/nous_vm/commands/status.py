# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How is nous on this host? One screen: URL, release, health, gateway, audit log, key, backups, traffic, and what needs attention.

--json prints {"healthy": bool, "lines": {label: text}, "attention": [{"part", "name", "status", "detail", "next_step"}],
"unknown": [{"part", "name", "detail"}], "pauses": [owner]}, and "message" if it is not healthy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..cli import Result, only_root
from ..overview import Overview, overview

if TYPE_CHECKING:
    import argparse


def run(_arguments: argparse.Namespace) -> Result:
    only_root("sees enough to tell")
    found = overview()
    return Result(found.document(), text(found), 0 if found.healthy else 1)


def text(found: Overview) -> str:
    """Return an overview as a person reads it."""
    width = max(map(len, found.lines))
    lines = [f"{label.ljust(width)}  {line}" for label, line in found.lines.items()]
    if found.attention:
        lines += ["", "needs attention:"]
    for row in found.attention:
        lines += [f"  {row.status}  {row.part}: {row.name}: {row.detail}", *([f"        {row.next_step}"] if row.next_step else [])]
    if found.unknown:
        lines += ["", "not known:", *(f"  {row.part}: {row.name}{': ' * bool(row.detail)}{row.detail}" for row in found.unknown)]
    return "\n".join(lines)
