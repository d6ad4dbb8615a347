# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of values that roles are told, each a rule: paths, names, addresses, networks, times. What is said of one is said here."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import typing as t

from .calendar import is_calendar_event
from .rules import LINE, List, Number, Rule, Text

NAME = "[A-Za-z0-9_@+-][A-Za-z0-9._@+-]*"  # of a file: no blank, no dot at its start
LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
HOST = rf"(?=.{{1,253}}\Z)({LABEL}[.])+[a-z]([a-z0-9-]{{0,61}}[a-z0-9])?"
OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
PORT = "(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
UNPRIVILEGED = 1024
R = t.TypeVar("R", bound=Rule)
WITH_CREDENTIALS = re.compile("://[^/ ]*@")
PLAIN = "of letters, digits, underscores, hyphens and dots"


def optional(rule: Text) -> Text:
    """Return a rule that takes an empty text too."""
    return dataclasses.replace(rule, pattern=f"({rule.pattern})?", allowed=f"nothing, or {rule.allowed}", accept=rule.accept and _or_empty(rule.accept))


def required(rule: R) -> R:
    """Return a rule for a variable without a default."""
    return dataclasses.replace(rule, required=True)


def _or_empty(accept: t.Callable[[str], bool]) -> t.Callable[[str], bool]:
    return lambda text: not text or accept(text)


def absolute_path(example: str, names: int = 1) -> Text:
    """An absolute path of at least so many names."""
    where = ", not directly below /" if names > 1 else ""
    pattern = f"(/{NAME}){{{names},}}"
    return Text(pattern=pattern, path=True, allowed=f"an absolute path {PLAIN}, without a final slash{where}", example=example)


def file_name(example: str) -> Text:
    return Text(pattern=NAME, allowed=f"a file name {PLAIN}, without a path", example=example)


def hostname(example: str = "nous.example.org") -> Text:
    return Text(pattern=HOST, allowed="a full host name in lower case, without scheme, port or path", example=example)


def https_url(example: str) -> Text:
    """An https URL without port, path or anything else."""
    pattern = rf"https://(?=.{{1,253}}\Z)({LABEL}[.])+{LABEL}"
    return Text(pattern=pattern, allowed="https:// and a host name in lower case, without port or path", example=example)


def without_credentials(text: str) -> bool:
    """Tell whether a text has no URL with the name or password of somebody."""
    return WITH_CREDENTIALS.search(text) is None


def is_network(text: str) -> bool:
    """Tell whether a text is a network in CIDR notation that some peer of a connection can be in."""
    try:
        network = ipaddress.ip_network(text, strict=True)
    except ValueError:
        return False
    # A peer with an IPv4 address is seen by that address, so that nothing would ever match a mapped one.
    return not isinstance(network, ipaddress.IPv6Network) or network.network_address.ipv4_mapped is None


def cidr() -> Text:
    words = "a network in CIDR notation, up to /32 (IPv4) or /128 (IPv6), with no bit set beyond the prefix"
    return Text(pattern="[0-9A-Fa-f.:]+/(0|[1-9][0-9]*)", accept=is_network, allowed=words, example="203.0.113.7/32 or 2001:db8:1::/48")


def cidrs(least: int = 0) -> List:
    words = f"a list of {'at least one of ' if least else ''}networks in CIDR notation, up to /32 (IPv4) or /128 (IPv6), with no bit set beyond the prefix"
    return List(element=cidr(), least=least, allowed=words, example="[203.0.113.7/32]")


def calendar_event(example: str = "daily") -> Text:
    return Text(accept=is_calendar_event, pattern=".+", allowed="a calendar event as in systemd.time(7)", example=example)


def octal_mode(example: str, without: int = 0o002) -> Text:
    """Four octal digits, of which none of these bits is set."""

    def accept(text: str) -> bool:
        return int(text, 8) != 0 and not int(text, 8) & without

    words = "a mode in quotes of a zero and three octal digits, not 0000, that lets others not write"
    return Text(pattern="0[0-7]{3}", accept=accept, allowed=words, example=f'"{example}"')


def unit_name(*suffixes: str) -> Text:
    pattern = rf"[A-Za-z0-9:_.@\\-]{{1,200}}[.]({'|'.join(suffixes)})"
    return Text(pattern=pattern, allowed=f"the full name of a unit ({', '.join(suffixes)})", example=f"nous.{suffixes[0]}")


def account_name(example: str, root: bool = False) -> Text:
    """The name of a user or group; root only where it is allowed."""
    words = f"a name in lower case of at most 31 characters{'' if root else ', not root'}"
    return Text(pattern="[a-z_][a-z0-9_-]{0,30}", accept=None if root else lambda text: text != "root", allowed=words, example=example)


def owner(example: str = "root") -> Text:
    """The name or number of a user or group."""
    return Text(pattern="[a-z_][a-z0-9_-]{0,30}|[0-9]{1,9}", allowed="the name or number of a user or group", example=example)


def loopback(example: str) -> Text:
    """A loopback IPv4 address and a port that needs no privilege."""

    def accept(text: str) -> bool:
        return int(text.rpartition(":")[2]) >= UNPRIVILEGED

    words = f"a loopback IPv4 address and a port from {UNPRIVILEGED} to 65535"
    return Text(pattern=rf"127([.]{OCTET}){{3}}:{PORT}", accept=accept, allowed=words, example=example)


def text_line(allowed: str = "text on one line", example: str = "", pattern: str = LINE) -> Text:
    return Text(pattern=pattern, allowed=allowed, example=example)


def choice(*words: str) -> Text:
    return Text(choices=words, allowed=f"one of {', '.join(words)}", example=words[0])


def integer(least: int, most: int, example: int, what: str = "a whole number") -> Number:
    return Number(least=least, most=most, allowed=f"{what} from {least} to {most}", example=str(example))


def seconds(least: int, most: int, example: int) -> Number:
    return integer(least, most, example, "a number of seconds")


def real(least: float, most: float, example: float) -> Number:
    return Number(least=least, most=most, whole=False, allowed=f"a number from {least:g} to {most:g}", example=f"{example:g}")


def packages(example: str) -> List:
    element = Text(pattern="[a-z0-9][a-z0-9+.-]+(:[a-z0-9]+)?", allowed="the name of a package", example=example)
    return List(element=element, allowed="a list of names of the distribution's packages", example=f"[{example}]")
