# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which targets are allowed, and which addresses of theirs."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from typing import TypeAlias

from .configuration import Entry, Network
from .request import Denied, Target

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"

# What no name may lead to, but for an entry's own network. The kernel has the same list (IPAddressDeny=).
DENIED = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",  # carriers' networks; Alibaba's metadata
    "127.0.0.0/8",
    "168.63.129.16/32",  # Azure's metadata
    "169.254.0.0/16",  # link-local; the metadata of most
    "172.16.0.0/12",
    "192.0.0.0/24",  # Oracle's metadata
    "192.0.2.0/24",
    "192.31.196.0/24",
    "192.52.193.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "192.175.48.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/96",  # nothing, loopback, and IPv4 in an old form
    "::ffff:0:0/96",  # IPv4 in another form
    "::ffff:0:0:0/96",
    "64:ff9b::/96",  # IPv4 behind a translator
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",  # Teredo and others
    "2001:db8::/32",
    "2002::/16",  # IPv4 in 6to4
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",  # Amazon's metadata too
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
)
# What no network of an entry may have in it.
NEVER = ("0.0.0.0/8", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "::/96", "::ffff:0:0/96", "fe80::/10", "ff00::/8")
NETWORKS = tuple(ipaddress.ip_network(each) for each in DENIED)
NO_NETWORKS = tuple(ipaddress.ip_network(each) for each in NEVER)


def within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == each.version and address in each for each in networks)


def excepted(addresses: list[str]) -> list[str]:
    """Return those of these addresses, of name servers, that the kernel would not let the proxy reach without an exception."""
    return [each for each in addresses if within(ipaddress.ip_address(each), NETWORKS)]


def entry(wanted: Target, allow: Iterable[Entry]) -> Entry:
    """Return the entry that allows a target; raise Denied if there is none."""
    named = [each for each in allow if each.name == wanted.name]
    for each in named:
        if each.port == wanted.port:
            return each
    if named:
        raise Denied("port", f"of {wanted.name} the port {wanted.port} is not allowed")
    raise Denied("name", f"{wanted.name} is not allowed")


def is_own(address: Address) -> bool:
    """Tell whether an address is one of this host: it would be reached from itself. Nothing is sent."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect((str(address), 9))
            return bool(asked.getsockname()[0] == str(address))
        except OSError:  # there is no way to it
            return False


def is_permitted(address: Address, about: Entry, own: Callable[[Address], bool] = is_own) -> bool:
    """Tell whether an entry may lead to an address."""
    if within(address, NO_NETWORKS) or own(address):
        return False
    if about.network is not None:
        return within(address, [about.network])
    return address.is_global and not within(address, NETWORKS)


def permitted(addresses: Iterable[str], about: Entry, own: Callable[[Address], bool] = is_own) -> list[str]:
    """Return those of a name's addresses that its entry may lead to; raise Denied if there are none."""
    found = [ipaddress.ip_address(each.partition("%")[0]) for each in addresses]
    good = [str(each) for each in found if is_permitted(each, about, own)]
    if not good:
        where = f"in {about.network}" if about.network else "public"
        raise Denied("address", f"{about.name} leads to {', '.join(map(str, found)) or 'no address'}, of which none is {where}")
    return good
