# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the role egress_proxy."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from ...module_utils.nous_vm.egress.policy import DENIED, NO_NETWORKS, excepted
from ...module_utils.nous_vm.egress.resolvers import is_address
from ..kinds import choice, cidr, hostname, integer, loopback, optional, seconds, unit_name
from ..role import Host, Questions, Role, Values
from ..rules import Dict, Fault, Flag, List, Rule, Text, shown

ENTRY = "entries with name, and if need be port, network and tls"
EXAMPLE = "[{name: api.anthropic.com, port: 443}]"

OPTIONS: dict[str, Rule] = {
    "egress_proxy_state": choice("present", "absent"),
    "egress_proxy_allow": List(
        element=Dict(
            options={"name": hostname("api.anthropic.com"), "port": integer(1, 65535, 443), "network": optional(cidr()), "tls": Flag()},
            allowed=ENTRY,
            example=EXAMPLE,
        ),
        allowed=f"a list of {ENTRY}: a full host name in lower case, a port from 1 to 65535, a private network in CIDR notation, true or false",
        example=EXAMPLE,
    ),
    "egress_proxy_bind": loopback("127.0.0.1:3128"),
    "egress_proxy_units": List(element=unit_name("service"), least=1, unique=True, allowed="a list of full names of services", example="[nous.service]"),
    "egress_proxy_resolvers": List(
        element=Text(pattern="[0-9A-Fa-f.:]+", accept=is_address, allowed="an address of a name server"),
        allowed="a list of addresses of name servers",
        example="[10.0.0.2]",
    ),
    "egress_proxy_connections": integer(1, 1024, 64, "a number of connections"),
    "egress_proxy_idle_timeout": seconds(1, 86400, 600),
    "egress_proxy_total_timeout": seconds(1, 604800, 3600),
    "egress_proxy_megabytes": integer(1, 1048576, 256, "a number of MB"),
}

# What the role installs besides the core of the package, as its vars have it.
OWN = (
    "/etc/systemd/system/nous-egress.socket",
    "/etc/systemd/system/nous-egress.service",
    "/etc/systemd/system/sockets.target.wants/nous-egress.socket",
    "/etc/nous-vm/egress.json",
    "/usr/local/lib/nous-vm/nous_vm/egress",
    "/usr/local/lib/nous-vm/egress-root",
)


def complete(values: Values) -> list[dict[str, Any]]:
    """Return the entries with all that they can have."""
    return [{"port": 443, "network": "", "tls": True} | each for each in values["egress_proxy_allow"]]


def entries(values: Values) -> Iterator[Fault]:
    """Yield the faults of entries that make no sense."""
    variable, seen = "egress_proxy_allow", []
    for each in values["egress_proxy_allow"]:
        if "name" not in each:
            yield Fault(variable, f"has {shown(each)}, without a name", ENTRY, EXAMPLE)
            return
    for each in complete(values):
        if each["network"] and (bad := never(each["network"])):
            given = f"has {each['name']} in the network {each['network']}, and {bad} is the host itself, its neighbours' or the metadata of a cloud"
            yield Fault(variable, given, "a network without them", "[{name: otel.example.org, port: 4318, network: 10.0.0.0/24}]")
        if not each["tls"] and not each["network"]:
            allowed = "that only for an entry with a network, because nobody could tell whom the connection is for"
            yield Fault(variable, f"has {each['name']} with tls false", allowed, "[{name: otel.example.org, port: 4317, network: 10.0.0.0/24, tls: false}]")
        if (each["name"], each["port"]) in seen:
            yield Fault(variable, f"has {each['name']} with port {each['port']} twice", "one entry for each name and port", EXAMPLE)
        seen.append((each["name"], each["port"]))


def never(network: str) -> str:
    """Return what a network has in it that none may have."""
    known = ipaddress.ip_network(network)
    return next((str(each) for each in NO_NETWORKS if each.version == known.version and known.overlaps(each)), "")


def derive(values: Values) -> dict[str, Any]:
    """Return the entries with all that they can have, and the networks that the kernel denies."""
    return {"allow": complete(values), "denied": list(DENIED)}


def resolvers(values: Values, host: Host) -> list[str]:
    """Return the name servers that the kernel has to make an exception for."""
    return excepted(values["egress_proxy_resolvers"] or host["resolvers"])


def questions(_values: Values) -> Questions:
    return {"resolvers": [], "units": ["nous-egress.socket", "nous-egress.service"], "matches": list(OWN)}


def lacks(values: Values, host: Host) -> Iterator[Fault]:
    if values["egress_proxy_allow"] and host["units"]["nous-egress.socket"].get("ActiveState") != "active":
        yield Fault("nous-egress.socket", "is not active", "")


ROLE = Role("egress_proxy", OPTIONS, together=(entries,), questions=questions, derive=derive, lacks=lacks)
