# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A list of networks of the operator's own, which is fetched by a timer: they are allowed besides the inventory's, until the list has them no longer.

It can add and nothing else: it is bounded in number and width, and a list that is anything else than expected changes nothing. fetch runs in a unit without
rights; update, which is root's, reads what that left as foreign text, and takes it through the same verification as a run of the role.
"""

from __future__ import annotations

import ipaddress
import time
from pathlib import Path

from .. import atomic, events
from ..errors import ForeignError, NousVmError
from ..foreign import printable, read_file
from ..names import STATE
from ..network import Network, has_peers
from ..systemd import show
from . import apply, configuration, https
from .fetched_list import Listed, current, keep

UNIT = "nous-gateway-list.service"
FOLDER = Path("/run/nous-gateway-list")  # of the unit, in which it leaves what it fetched
FETCHED = FOLDER / "list"
CADDY_FILE = STATE / "gate-list.caddy"  # which the Caddyfile imports wherever the allow list stands
NFT_FILE = STATE / "gate-list.nft"  # which the limits of connections include
LIMIT = 1 << 16  # bytes
TIMEOUT = 30.0  # seconds
NETWORKS = 256
WIDEST = {4: 8, 6: 16}  # shortest prefix of a network that all of a list would fit into
OLD = 3 * 86400  # seconds after which somebody should look why there is no newer one
BITS = {4: 32, 6: 128}
HOUR = 3600


def fetch(url: str) -> None:
    """Leave what is at the URL for update(), if it is a list. Raises OSError, ForeignError."""
    content = https.get(url, timeout=TIMEOUT, limit=LIMIT)
    parsed(content)
    atomic.write(FETCHED, content, 0o644)


def parsed(content: bytes) -> list[str]:
    """Return the networks of a list: one a line, and behind # what is for people. Raises ForeignError for one that is anything else."""
    found: list[Network] = []
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if text:
            found.append(_network(text, f"line {number} is {printable(text, 80)!r}"))
        if len(found) > NETWORKS:
            raise ForeignError(f"the list has more than {NETWORKS} networks")
    if not found:
        raise ForeignError("the list has no network")
    together: list[Network] = [
        *ipaddress.collapse_addresses(each for each in found if isinstance(each, ipaddress.IPv4Network)),
        *ipaddress.collapse_addresses(each for each in found if isinstance(each, ipaddress.IPv6Network)),
    ]
    for version, widest in WIDEST.items():
        one = [each for each in together if each.version == version]
        if sum(each.num_addresses for each in one) > 2 ** (BITS[version] - widest):
            raise ForeignError(f"the networks of IPv{version} on the list are wider than /{widest}")
    return [str(each) for each in together]


def _network(text: str, given: str) -> Network:
    """Return the network that a text is, if peers from the network can be in it."""
    allowed = "allowed are networks in CIDR notation of addresses that somebody else may have, for example 203.0.113.0/24"
    try:
        found = ipaddress.ip_network(text)
    except ValueError:
        raise ForeignError(f"{given}; {allowed}") from None
    if not has_peers(found):
        raise ForeignError(f"{given}; {allowed}")
    return found


def update(url: str) -> str:
    """Take what was fetched into service, if the gateway is ready with it; return what came of it. Otherwise the list from before stays. Raises NousVmError."""
    found, before = parsed(read_file(FETCHED, LIMIT)), current()
    if configuration.known_good() != configuration.on_disk():
        raise NousVmError("the configuration of the gateway is not the one that was verified last; run the site, and fetch the list again then")
    made = Listed(url, found, float(int(time.time())))
    if before and before.networks == found and _files(found) == _on_disk():
        keep(made)
        return f"{len(found)} networks, as before"
    old = _on_disk()
    _write(_files(found))
    try:
        fault = apply.serve(configuration.on_disk())
    except BaseException:
        _write(old)
        raise
    if fault:
        _write(old)
        again = apply.serve(configuration.on_disk())
        events.record("list of networks rolled back", "failed" if again else "done", why=fault)
        raise NousVmError(f"{fault} The list from before {f'was put back, but: {again}' if again else 'serves'}.")
    keep(made)
    had = set(before.networks if before else [])
    more, less = sorted(set(found) - had), sorted(had - set(found))
    events.record("list of networks applied", added=", ".join(more), removed=", ".join(less))
    return f"{len(found)} networks; added: {', '.join(more) or 'none'}; removed: {', '.join(less) or 'none'}"


def _files(found: list[str]) -> dict[Path, str]:
    """Return what Caddy and nftables read."""
    sets = {4: [each for each in found if ":" not in each], 6: [each for each in found if ":" in each]}
    elements = [f"add element inet nous_gateway listed{version} {{ {', '.join(each)} }}" for version, each in sets.items() if each]
    head = "# Managed by nous-vm gate update.\n"
    return {CADDY_FILE: f"{head}remote_ip {' '.join(found)}\n", NFT_FILE: head + "\n".join(elements) + "\n"}


def _on_disk() -> dict[Path, str]:
    """Return what is there of it; nothing for a file that is absent."""
    return {path: read_file(path).decode() if path.exists() else "" for path in (CADDY_FILE, NFT_FILE)}


def _write(files: dict[Path, str]) -> None:
    for path, content in files.items():
        if content:
            atomic.write(path, content.encode(), 0o644)
        else:
            path.unlink(missing_ok=True)


def row(url: str) -> tuple[str, str]:
    """Return status and detail of the row on the list: how old it is, and whether the last attempt failed."""
    known, failed = current(), show(UNIT, "Result").get("Result") not in ("success", "")
    why = f"; the last attempt failed: sudo journalctl --unit={UNIT}" if failed else ""
    if known is None or known.url != url:
        return "warn", f"{url} was not fetched yet{why}"
    age = max(time.time() - known.fetched, 0)
    return "warn" if age > OLD else "ok", f"{len(known.networks)} networks of {url}, fetched {age / HOUR:.0f} h ago{why}"
