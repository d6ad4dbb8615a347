# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose Caddyfile this host has, whether it was verified and is what Caddy serves, and who holds the gateway's ports.

--json prints {"installed": bool, "config": path, "owner": absent, ours, package or foreign, "known_good": bool, "served": bool,
"port_holders": {port: program}, "list_url": of the list that was fetched last}.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...cli import Result
from ..configuration import config
from ..state import state

if TYPE_CHECKING:
    import argparse

EXAMPLE = "sudo nous-vm gate state --json"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, nargs="?", help="the file that is to be the gateway's (default: the one that is)")


def run(arguments: argparse.Namespace) -> Result:
    document = state(arguments.file or config())
    holders = ", ".join(f"port {port} is held by {holder}" for port, holder in document["port_holders"].items())
    verified = "known good" if document["known_good"] else "not verified"
    served = "served" if document["served"] else "not served"
    return Result(document, f"{document['config']}: {document['owner']}, {verified}, {served}; {holders or 'ports are free, or Caddy holds them'}")
