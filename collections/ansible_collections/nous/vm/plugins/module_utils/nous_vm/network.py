# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's TCP sockets: who listens where, and how to reach a server in a network of its own."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import pwd
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

from .foreign import printable

Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"
LISTEN = "0A"  # the kernel's number for the state


class Listener(NamedTuple):
    """What a TCP socket listens on: an address, packed, and a port."""

    address: bytes
    port: int


def has_peers(network: Network) -> bool:
    """Return whether somebody else can come from a network: from none that means this host, its link, many, nobody, or IPv4 in other words."""
    mapped = network.version == 6 and getattr(network.network_address, "ipv4_mapped", None)
    return not (network.is_loopback or network.is_link_local or network.is_multicast or network.is_unspecified or mapped)


def tables() -> Iterator[list[str]]:
    """Yield the lines of the kernel's tables of TCP sockets, as words."""
    for table in (path for path in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")) if path.exists()):
        yield from (line.split() for line in table.read_text(encoding="ascii").splitlines()[1:])


def listeners(user: str | None = None) -> dict[str, Listener]:
    """Return the listening TCP sockets of this host, or of one user, by the name that they have under /proc."""
    found, uid = {}, pwd.getpwnam(user).pw_uid if user else None
    for line in tables():
        address, _colon, port = line[1].partition(":")
        if line[3] == LISTEN and uid in (None, int(line[7])):
            words = (int(address[start:][:8], 16) for start in range(0, len(address), 8))
            found[f"socket:[{line[9]}]"] = Listener(b"".join(struct.pack("=I", word) for word in words), int(port, 16))
    return found


def ports_of(process: Path, sockets: dict[str, Listener]) -> set[int]:
    """Return the TCP ports that a process (its folder below /proc) listens on."""
    found = set()
    with contextlib.suppress(OSError):  # it ended
        for link in process.glob("fd/*"):
            with contextlib.suppress(OSError):  # it closed this one
                found |= {sockets[name].port for name in [os.readlink(link)] if name in sockets}
    return found


def holders(ports: Iterable[int], unit: str = "") -> dict[int, str]:
    """Return which of these TCP ports are held, and by whom; what UNIT itself holds is not among them."""
    wanted, sockets = set(ports), listeners()
    found = {each.port: "another program" for each in sockets.values() if each.port in wanted}
    for process in Path("/proc").glob("[0-9]*") if found else ():
        for port in ports_of(process, sockets) & set(found):
            try:
                mine = unit and f"/{unit}" in (process / "cgroup").read_text(encoding="utf-8", errors="replace")
                found[port] = "" if mine else f"{printable((process / 'comm').read_bytes())} (pid {process.name})"
            except OSError:
                continue
    return {port: holder for port, holder in found.items() if holder}


def listed(address: str, cidrs: Iterable[str]) -> bool:
    """Tell whether an address is in one of these networks."""
    known = ipaddress.ip_address(address)
    known = getattr(known, "ipv4_mapped", None) or known
    return any(known in ipaddress.ip_network(cidr) for cidr in cidrs)
