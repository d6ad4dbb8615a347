# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What /etc/nous-vm/egress.json says of the way out."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from ..errors import ForeignError, UsageError
from ..foreign import read_json
from ..names import CONFIGURATION

PATH = CONFIGURATION / "egress.json"
Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"


class Entry(NamedTuple):
    """A host that may be connected to.

    network: where its addresses have to be, None for anywhere that is public. tls: whether nothing but TLS is let through.
    """

    name: str
    port: int
    network: Network | None = None
    tls: bool = True


class Limits(NamedTuple):
    """What connections may cost. connections: at a time. idle: seconds without a byte. total: seconds in all. size: bytes in all, both ways together."""

    connections: int
    idle: float
    total: float
    size: int


class Configuration(NamedTuple):
    """The way out, as the role configured it.

    bind: the address in the network of the units. units: whose network it listens in, the first one that of the server. resolvers: addresses that the kernel
    lets it reach for names. scores: the most that systemd's score of a unit may be.
    """

    bind: str
    units: list[str]
    allow: list[Entry]
    limits: Limits
    resolvers: list[str]
    scores: dict[str, float]


def parse(about: dict[str, Any]) -> Configuration:
    """Return the configuration in a document; raise KeyError, TypeError or ValueError."""
    entries = [
        Entry(str(each["name"]), int(each["port"]), ipaddress.ip_network(each["network"]) if each["network"] else None, bool(each["tls"]))
        for each in about["allow"]
    ]
    return Configuration(**{**about, "allow": entries, "limits": Limits(**about["limits"])})


def load(path: Path = PATH) -> Configuration:
    """Return the configuration; raise UsageError if it is not there or not complete."""
    try:
        return parse(read_json(path))
    except (OSError, ForeignError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} cannot be used: {error!r}") from None
