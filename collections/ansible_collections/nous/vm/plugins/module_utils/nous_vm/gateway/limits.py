# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The limits of connections to the gateway: whether the kernel has them, and how often they were met."""

from __future__ import annotations

import ipaddress

from ..errors import ForeignError
from ..foreign import parse_json
from ..health import Row
from ..programs import run

NFT = "/usr/sbin/nft"
TABLE = ("inet", "nous_gateway")
COUNTERS = {"too_many": "for too many at a time", "too_fast": "for too many new ones"}
NETWORK = {4: 32, 6: 64}  # what counts as one address
TIMEOUT = 10.0  # seconds that nft gets
TIMER = "nous-gateway-limits.timer"


def check(wanted: bool) -> Row:
    """Return the row on the limits. wanted: whether there are to be any."""
    name = "connection limits"
    if not wanted:
        return Row(name, "ok", "none, as caddy_gateway_connection_limits asks for")
    done = run([NFT, "--json", "--terse", "list", "table", *TABLE], timeout=TIMEOUT)
    if done.returncode:
        return Row(name, "fail", f"the table {' '.join(TABLE)} is absent; {TIMER} puts it back within a minute: {done.complaint}")
    try:
        objects = parse_json(done.stdout, "what nft printed")["nftables"]
        counted = dict.fromkeys(COUNTERS, 0) | {each["counter"]["name"]: int(each["counter"]["packets"]) for each in objects if "counter" in each}
        used = {part["counter"] for each in objects if "rule" in each for part in each["rule"]["expr"] if isinstance(part.get("counter"), str)}
    except (ForeignError, LookupError, TypeError, ValueError, AttributeError) as error:
        return Row(name, "unknown", f"nft printed something else than expected: {error!r}")
    if missing := sorted(COUNTERS.keys() - used):
        return Row(name, "fail", f"the table {' '.join(TABLE)} has no rule {' and '.join(missing)}; {TIMER} puts it back within a minute")
    return Row(name, "ok", "; ".join(f"{counted[each]} connections denied {why}" for each, why in COUNTERS.items()) + " since the last boot")


def arrived(address: str) -> bool:
    """Tell whether a new connection of an address came within the last minute, and was let on to whatever firewall this host has besides."""
    found = ipaddress.ip_address(address)
    network = ipaddress.ip_network((found, NETWORK[found.version]), strict=False)
    sets = [f"new{whose}{found.version}" for whose in ("", "_listed")]
    return any(run([NFT, "get", "element", *TABLE, each, f"{{ {network.network_address} }}"], timeout=TIMEOUT).returncode == 0 for each in sets)
