# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client of the proxy requests: the one form of a request that there is, and why any other is denied."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from ..errors import NousVmError
from ..foreign import printable

MOST = 8192  # bytes of a request
LINES = 32  # of its headers
END = b"\r\n\r\n"
# Neither takes a line feed or a carriage return by itself.
LINE = re.compile(rb"CONNECT ([!-~]{1,300}) HTTP/1[.][01]")
HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~]*)")
NAME = re.compile(r"(?=.{1,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])+[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
PORT = re.compile("[1-9][0-9]{0,4}")
BODY = (b"content-length", b"transfer-encoding", b"trailer", b"upgrade", b"expect")  # a request that has one is two, to somebody


class Denied(NousVmError):
    """A connection that is not made, or is ended. kind: one of a fixed set of words. The text says why."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind, self.answered = kind, False  # answered: the client was told before that it is connected


class Target(NamedTuple):
    """What is to be connected to."""

    name: str
    port: int


def target(head: bytes) -> Target:
    """Return what the head of a request (up to the empty line, which is not part of it) asks for; raise Denied."""
    first, *headers = head.split(b"\r\n")
    match = LINE.fullmatch(first)
    if not match:
        method = first.split(b" ", 1)[0]
        raise Denied("method", f"{printable(method, 20)} is not CONNECT") if method != b"CONNECT" else Denied("form", "the first line is no CONNECT request")
    wanted = match[1].decode("ascii")
    check(headers, wanted)
    return authority(wanted)


def check(headers: list[bytes], wanted: str) -> None:
    """Raise Denied for headers that are none, that begin another request, or that name another target."""
    if len(headers) > LINES:
        raise Denied("size", f"more than {LINES} headers")
    hosts = []
    for line in headers:
        match = HEADER.fullmatch(line)
        if not match:
            raise Denied("form", f"{printable(line, 60)} is no header")
        name = match[1].lower()
        if name in BODY:
            raise Denied("body", f"a CONNECT request has no {name.decode()}")
        if name == b"host":
            hosts.append(match[2].strip().decode("ascii"))
    if len(hosts) > 1 or any(each not in (wanted, wanted.rpartition(":")[0]) for each in hosts):
        raise Denied("host header", "the header Host names another target")


def authority(text: str) -> Target:
    """Return the name and the port that a text such as api.example.org:443 names; raise Denied."""
    if "@" in text:
        raise Denied("userinfo", "a target has no user")
    host, colon, port = text.rpartition(":")
    if not colon or not PORT.fullmatch(port) or int(port) > 65535:
        raise Denied("port", "the target has no port from 1 to 65535")
    if is_literal(host):
        raise Denied("literal", f"{printable(host, 60)} is an address and no name")
    if not NAME.fullmatch(host.lower()):
        raise Denied("name", f"{printable(host, 60)} is no full host name")
    return Target(host.lower(), int(port))


def is_literal(host: str) -> bool:
    """Tell whether a host is an address in any form that a resolver takes: 127.1, 0x7f000001 and 2130706433 are."""
    if host.startswith("[") or ":" in host:
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return re.fullmatch("(0[xX][0-9a-fA-F]*|[0-9]+)([.](0[xX][0-9a-fA-F]*|[0-9]+)){0,3}[.]?", host) is not None
    return True
