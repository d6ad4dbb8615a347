# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the role caddy_gateway."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterator

from .. import bundle
from ..kinds import LABEL, NAME, PORT, absolute_path, choice, cidrs, hostname, integer, optional, packages, required, text_line
from ..role import Host, Questions, Role, Values
from ..rules import Fault, Flag, List, Number, Rule, Text, shown

WIDEST = {4: 8, 6: 16}  # shortest prefix that a list has unless it is named as meant
SOCKET = f"unix/(/{NAME})+"
TCP = rf"([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\]):{PORT}"
PATH = "/[.]?[A-Za-z0-9_~-][A-Za-z0-9._~-]*"
LISTENS = ("0.0.0.0:80", "0.0.0.0:443")
# What the role writes, or writes into, beside its configuration.
PATHS = (
    "/etc/caddy",
    "/etc/sysctl.d",
    "/etc/sysctl.d/60-caddy-gateway.conf",
    "/etc/update-motd.d",
    "/etc/update-motd.d/60-nous-vm-gateway",
    "/var/lib/nous-vm",
)
UNITS = ("nous-gateway-limits.timer", "nous-gateway-denied.timer", "nous-gateway-repair.path", "nous-gateway-list.timer")
NOT_PUBLIC = ("/", "/token", "/register", "/authorize")
CLOSED = ("/register", "/authorize")
LOOPBACK = rf"http://(localhost|127[.]0[.]0[.]1|\[::1\]):{PORT}"
REDIRECT = rf"(https://({LABEL}[.])+{LABEL}(:{PORT})?|{LOOPBACK})(/[A-Za-z0-9._~/-]*)"

OPTIONS: dict[str, Rule] = {
    "caddy_gateway_state": choice("present", "absent"),
    "caddy_gateway_snippet": dataclasses.replace(optional(absolute_path("/etc/caddy/conf.d/nous.caddy")), path=False),
    "caddy_gateway_sandbox_shared": Flag(),
    "caddy_gateway_hostname": required(hostname()),
    "caddy_gateway_operator_cidrs": required(cidrs(least=1)),
    "caddy_gateway_anthropic_cidrs": cidrs(),
    "caddy_gateway_anthropic_cidrs_url": text_line(
        "nothing, or an https URL without a query", "https://lists.example.org/vendor.txt", rf"(https://({LABEL}[.])*{LABEL}(:{PORT})?(/[A-Za-z0-9._~-]+)+)?"
    ),
    "caddy_gateway_wide_cidrs": cidrs(),
    "caddy_gateway_public_paths": List(
        element=Text(pattern=f"({PATH})+", accept=lambda text: text not in NOT_PUBLIC, allowed="a path"),
        allowed="a list of absolute paths of letters, digits, hyphens, underscores, tildes and dots, without a pattern, a query, a detour or a final slash,"
        f" and without {' and '.join(NOT_PUBLIC)}",
        example="[/.well-known/oauth-protected-resource/mcp]",
    ),
    "caddy_gateway_authorize": choice("enrolment", "operator", "public"),
    "caddy_gateway_redirect_uris": List(
        element=Text(pattern=REDIRECT, allowed="a URI"),
        least=1,
        allowed="a list of at least one https URI, or http URI of a loopback address with its port, without a query",
        example="[https://claude.ai/api/mcp/auth_callback]",
    ),
    "caddy_gateway_clients_directory": absolute_path("/var/lib/nous/auth", 2),
    "caddy_gateway_paths": List(
        element=Text(pattern=f"/|({PATH})+", accept=lambda text: text not in CLOSED, allowed="a path"),
        least=1,
        allowed="a list of at least one absolute path of letters, digits, hyphens, underscores, tildes and dots, without a pattern, a query or a detour,"
        f" and without {' and '.join(CLOSED)}",
        example="[/, /token, /revoke]",
    ),
    "caddy_gateway_upstream": text_line(
        "an address and a port, or unix/ and the absolute path of a socket", "127.0.0.1:8088 or unix//run/nous/http.sock", f"{TCP}|{SOCKET}"
    ),
    "caddy_gateway_upstream_tokenless": text_line(
        "nothing, an address and a port, or unix/ and the absolute path of a socket", "unix//run/nous/tokenless.sock", f"({TCP}|{SOCKET})?"
    ),
    "caddy_gateway_connection_limits": Flag(),
    "caddy_gateway_access_log_files": integer(2, 1000, 10, "a number of files of 50 MiB"),
    "caddy_gateway_access_log_days": integer(1, 3650, 30, "a number of days"),
    "caddy_gateway_denied_log_files": integer(2, 1000, 5, "a number of files of 50 MiB"),
    "caddy_gateway_denied_log_days": integer(1, 3650, 30, "a number of days"),
    "caddy_gateway_confirm_seconds": Number(least=0, most=300, allowed="a number from 0 to 300", example="30"),
    "caddy_gateway_tls": choice("acme", "internal", "files"),
    "caddy_gateway_tls_certificate": optional(absolute_path("/etc/ssl/nous/fullchain.pem")),
    "caddy_gateway_tls_key": optional(absolute_path("/etc/ssl/nous/key.pem")),
    "caddy_gateway_acme_email": text_line("nothing, or an address of mail", "operator@example.org", "([A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+)?"),
    "caddy_gateway_acme_ca": text_line(
        "nothing, or an https URL", "https://ca.example.org/acme/acme/directory", rf"(https://({LABEL}[.])*{LABEL}(:{PORT})?(/[A-Za-z0-9._~/-]*)?)?"
    ),
    "caddy_gateway_packages": packages("caddy"),
    "caddy_gateway_manage_packages": Flag(),
}

# Anthropic's page "IP addresses": its stored copies, of which five of nine have the second range, were compared on this day.
VENDOR = ["160.79.104.0/21", "153.61.208.0/20"]
VENDOR_LIST = {"date": "2026-11-27", "source": "the collection's, of Anthropic's page on IP addresses as compared on 2026-11-27"}
INBOUND = f"is where Anthropic is called, not where it calls from, which is {' and '.join(VENDOR)}"
PHASED_OUT = "was phased out by Anthropic, so that it may be somebody else's now; take it off"
OPEN = (
    "caddy_gateway_authorize is public: whoever knows the host name gets a token from a server that asks nobody, as nous does, and takes the place of"
    " your client; enrolment is for those."
)
POINTLESS = {"160.79.104.0/23": INBOUND, "153.61.224.0/22": INBOUND, "2607:6bc0::/48": INBOUND} | dict.fromkeys(
    ("34.162.46.92/32", "34.162.102.82/32", "34.162.136.91/32", "34.162.142.92/32", "34.162.183.95/32"), PHASED_OUT
)


def not_half_the_world(values: Values, variable: str) -> Iterator[Fault]:
    networks = [ipaddress.ip_network(each) for each in values[variable] if each not in values["caddy_gateway_wide_cidrs"]]
    if wide := [str(each) for each in networks if each.prefixlen < WIDEST[each.version]]:
        allowed = "a list of networks of IPv4 from /8 and of IPv6 from /16, and wider ones that caddy_gateway_wide_cidrs names too"
        yield Fault(variable, f"has {' and '.join(map(shown, wide))}", allowed, "[203.0.113.0/24]")


def operators_are_few(values: Values) -> Iterator[Fault]:
    yield from not_half_the_world(values, "caddy_gateway_operator_cidrs")


def vendor_is_narrow(values: Values) -> Iterator[Fault]:
    yield from not_half_the_world(values, "caddy_gateway_anthropic_cidrs")


def certificate_is_named(values: Values) -> Iterator[Fault]:
    for variable in ("caddy_gateway_tls_certificate", "caddy_gateway_tls_key"):
        if values["caddy_gateway_tls"] == "files" and not values[variable]:
            yield Fault(variable, "is empty, and caddy_gateway_tls is files", "the absolute path of a file on the host", OPTIONS[variable].example)


def config(values: Values) -> str:
    """Return the file that the role writes its site to."""
    return str(values["caddy_gateway_snippet"] or "/etc/caddy/Caddyfile")


def derive(values: Values) -> dict[str, object]:
    listed = values["caddy_gateway_anthropic_cidrs"] + values["caddy_gateway_operator_cidrs"]
    warnings = [f"{each} is listed, but it {POINTLESS[each]}." for each in listed if each in POINTLESS]
    if values["caddy_gateway_authorize"] == "public":
        warnings.append(OPEN)
    own = set(values["caddy_gateway_anthropic_cidrs"]) != set(VENDOR)
    return {"cidrs": listed, "config": config(values), "vendor_list": None if own else VENDOR_LIST, "warnings": warnings}


def questions(values: Values) -> Questions:
    return {
        "ports": [{"address": address, "unit": "caddy.service"} for address in LISTENS],
        "groups": ["caddy"],
        "units": ["caddy.service", *UNITS],
        "matches": ["/etc/systemd/system/caddy.service.d/caddy-gateway.conf", *(f"/etc/systemd/system/{each}" for each in UNITS)],
        "gateway": {"config": config(values)},
        "paths": [config(values), *PATHS],
    }


def judge(values: Values, host: Host) -> Iterator[Fault]:
    if host["gateway"]["owner"] == "foreign" and not (host.get("adopt") and not values["caddy_gateway_snippet"]):
        path = config(values)
        allowed = "the package's own or an earlier one of this role: keep a copy of it, remove it and run again"
        yield Fault(path, "was edited by hand on this host", allowed, bundle.ADOPT if bundle.left(host) else f"mv {path} {path}.mine")
    for address in LISTENS:
        if holder := host["ports"].get(address, ""):
            given = f"{address.rpartition(':')[2]} is held by {holder} on this host, and the gateway needs it"
            yield Fault("Port", given, "a free one: stop and disable what holds it", "systemctl disable --now nginx.service")


def lacks(_values: Values, host: Host) -> Iterator[Fault]:
    if "caddy" not in host["groups"]:
        yield Fault("caddy", "is absent", "")
    if host["units"]["caddy.service"].get("ActiveState") != "active":
        yield Fault("caddy.service", "is not active", "")


ROLE = Role(
    "caddy_gateway",
    OPTIONS,
    together=(operators_are_few, vendor_is_narrow, certificate_is_named),
    questions=questions,
    judge=judge,
    derive=derive,
    lacks=lacks,
)
