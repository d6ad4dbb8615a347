# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks that are allowed for a time, besides the inventory's list: Caddy compares the time at each request, so that nothing has to run at its end."""

from __future__ import annotations

import ipaddress
import json
import time
from pathlib import Path
from typing import NamedTuple

from .. import atomic, durations, times
from ..errors import UsageError
from ..foreign import printable
from ..locks import origin, whoever
from ..names import STATE
from ..network import has_peers
from . import configuration

STATE_FILE = STATE / "gate-allowed.json"
CADDY_FILE = STATE / "gate-allowed.caddy"  # which the Caddyfile imports
LEAST, MOST = 60, 7 * 86400  # seconds
WIDEST = {4: 24, 6: 48}
BEARER = "\theader_regexp Authorization (?i)^Bearer[[:blank:]]\n"


class Allowed(NamedTuple):
    """A network that is allowed for a time. until: seconds since the epoch. by: who allowed it."""

    network: str
    until: float
    by: str

    def __str__(self) -> str:
        return f"{self.network} until {times.minute(self.until)} by {printable(self.by)}"


def current() -> list[Allowed]:
    """Return what is allowed for a time and whose time is not over."""
    known = atomic.read_json(STATE_FILE).get("allowed", [])
    return [found for found in (Allowed(**each) for each in known) if found.until > time.time()]


def allow(text: str, seconds: float) -> Allowed:
    """Allow a network for a time; the gateway is to be reloaded then. Raises UsageError."""
    made = Allowed(network(text), float(int(time.time() + seconds)), printable(whoever()))
    _write([*(each for each in current() if each.network != made.network), made])
    return made


def forget(text: str) -> bool:
    """Allow a network no longer; return whether it was allowed for a time. Raises UsageError."""
    gone, before = network(text), current()
    _write([each for each in before if each.network != gone])
    return any(each.network == gone for each in before)


def network(text: str) -> str:
    """Return the network that a text, or "me", means. Raises UsageError."""
    text = me() if text == "me" else text
    try:
        found = ipaddress.ip_network(text)
    except ValueError:
        found = None
    if found is None or found.prefixlen < WIDEST[found.version] or not has_peers(found):
        raise UsageError(
            f"ADDRESS is {printable(text)!r}; allowed are me, an address that somebody else may have, and a network of IPv4 from /24 and of IPv6 from /48,"
            " for example 203.0.113.7; a wider one belongs into caddy_gateway_operator_cidrs"
        )
    return str(found)


def me() -> str:
    """Return the address that the person behind this process came from by ssh. Raises UsageError."""
    found = origin()
    try:
        return str(ipaddress.ip_address(found))
    except ValueError:
        raise UsageError("me is nobody who came by ssh; name the address, for example sudo nous-vm gate allow 203.0.113.7") from None


def seconds(text: str) -> int:
    """Return a duration, such as 12h, in seconds. Raises UsageError."""
    found = durations.seconds(text, "mhd")
    if found is None or not LEAST <= found <= MOST:
        raise UsageError(f"--for is {printable(text)!r}; allowed is a number with m, h or d, from 1m to 7d, for example 12h")
    return found


def _write(allowed: list[Allowed]) -> None:
    """Write what is allowed, for us and for Caddy, whose part is complete in itself: a path that is listed, and the time."""
    atomic.write_json(STATE_FILE, {"allowed": [each._asdict() for each in allowed]})
    if allowed:
        atomic.write(CADDY_FILE, _caddy(allowed).encode(), 0o644)
    else:
        Path(CADDY_FILE).unlink(missing_ok=True)


def _caddy(allowed: list[Allowed]) -> str:
    paths = atomic.read_json(configuration.PARAMETERS).get("listed_paths")
    where = f' && {{http.request.uri}}.split("?")[0] in {json.dumps(paths)}' if paths else ""
    blocks = []
    for number, each in enumerate(allowed):
        matcher = f"\tremote_ip {each.network}\n\texpression `int({{time.now.unix}}) < {int(each.until)}{where}`\n"
        for name, more, server in ((f"allowed{number}_token", BEARER, "caddy_gateway_server_with_token"), (f"allowed{number}", "", "caddy_gateway_server")):
            blocks.append(f"@{name} {{\n{matcher}{more}}}\nhandle @{name} {{\n\timport {server}\n}}\n")
    return "\n".join(["# Managed by nous-vm gate allow.", *blocks])
