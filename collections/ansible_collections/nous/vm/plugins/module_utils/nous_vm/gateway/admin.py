# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Caddy's admin API: what Caddy serves, and what it should serve."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .. import peers
from ..errors import ForeignError
from ..foreign import parse_json
from ..programs import run
from . import configuration

ADDRESS = "unix//run/caddy/admin.sock"
ANSWER = 8 << 20  # bytes of a configuration
TIMEOUT = 5.0  # seconds for one answer
ADAPT = 30.0  # seconds that Caddy gets to read its configuration


def desired() -> dict[str, Any]:
    """Return the configuration that is on disk, as Caddy understands it; nothing if it does not."""
    quick = os.environ | {"GOGC": "off"}  # the health check asks every five minutes: without garbage collection it is a quarter quicker, and no larger
    done = run([configuration.CADDY, "adapt", "--config", configuration.CADDYFILE], timeout=ADAPT, limit=ANSWER, env=quick)
    try:
        return parse_json(done.stdout, "what caddy adapt printed")
    except ForeignError:
        return {}


def address(known: dict[str, Any]) -> str:
    """Return the address of the admin API by a configuration."""
    return str((known.get("admin") or {}).get("listen", ADDRESS))


def socket_of(known: dict[str, Any]) -> Path:
    """Return the unix socket of the admin API by a configuration."""
    return Path(address(known).removeprefix("unix/").partition("|")[0])


def served(socket: Path) -> dict[str, Any]:
    """Return the configuration that Caddy serves, by its admin API. Raises OSError, ForeignError if it does not say."""
    # Caddy 2.6 knows its socket by no other name than an empty one.
    return peers.ask(peers.unix(str(socket)), "GET", "/config/", headers={"Host": ""}, timeout=TIMEOUT, limit=ANSWER).json()


def answers(socket: Path) -> bool:
    """Tell whether Caddy answers at a socket, whatever it serves."""
    try:
        return bool(served(socket))
    except (OSError, ForeignError):
        return False
