# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a support bundle gets of the gateway, and must not have of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .configuration import CADDY, CADDYFILE

DATA = Path("/var/lib/caddy/.local/share/caddy")


def secrets() -> Iterator[Path]:
    """Yield the private keys of certificates and of accounts with their authorities."""
    yield from sorted(DATA.glob("**/*.key"))


def folders() -> Iterator[Path]:
    yield CADDYFILE.parent


VERSIONS = {"caddy": [str(CADDY), "version"]}
