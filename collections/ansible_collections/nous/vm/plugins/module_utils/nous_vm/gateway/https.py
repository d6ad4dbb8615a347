# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small document by https: one deadline and one bound for all of it, and no redirect that leads away from https or into a private network."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable
from urllib.parse import SplitResult, urljoin, urlsplit

from .. import peers
from ..errors import ForeignError
from ..foreign import printable

PORT = 443
REDIRECTS = 3
MOVED = (301, 302, 303, 307, 308)
HEADERS = {"Accept": "text/plain", "Accept-Encoding": "identity", "User-Agent": "nous-vm"}


def get(url: str, *, timeout: float, limit: int) -> bytes:
    """Return what is at a URL. timeout: seconds for all of it. limit: bytes of head and body. Raises OSError, ForeignError."""
    deadline = time.monotonic() + timeout
    for redirects in range(REDIRECTS + 1):
        where = _split(url)
        target = (where.path or "/") + (f"?{where.query}" if where.query else "")
        connect = _connect(where, redirected=redirects > 0)
        left = max(deadline - time.monotonic(), 0.001)
        answer = peers.ask(connect, "GET", target, headers=HEADERS | {"Host": where.netloc}, timeout=left, limit=limit)
        if answer.status == 200:
            return answer.body
        if answer.status not in MOVED:
            raise ForeignError(f"{printable(url)} was answered with the status {answer.status}, not 200")
        url = urljoin(url, answer.headers.get("location", ""))
    raise ForeignError(f"it was redirected more than {REDIRECTS} times, the last time to {printable(url)}")


def _split(url: str) -> SplitResult:
    """Return the parts of a URL, which has to be one of https without a name or password."""
    try:
        where = urlsplit(url)
        known = where.scheme == "https" and where.hostname and "@" not in where.netloc and (where.port or PORT) > 0
    except ValueError:
        known = False
    if not known or not url.isascii():
        raise ForeignError(f"{printable(url)!r} is no URL that may be fetched; allowed is https://, a host name and a path")
    return where


def _connect(where: SplitResult, redirected: bool) -> Callable[[float], ssl.SSLSocket]:
    """Return a function that connects to the host of a URL, whose certificate is verified; after a redirect, to public addresses alone."""
    host, port = str(where.hostname), where.port or PORT

    def connect(timeout: float) -> ssl.SSLSocket:
        deadline = time.monotonic() + timeout
        # By address from here on, so that a second look-up cannot lead elsewhere.
        found = [(family, address) for family, _kind, _protocol, _name, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        if inside := [str(address[0]) for _family, address in found if redirected and not _is_public(str(address[0]))]:
            raise ForeignError(f"it was redirected to {printable(host)}, which is at {inside[0]}, no public address")
        error: OSError = OSError(f"{host} has no address")
        for family, address in found:
            try:
                return peers.tls(peers.at(family, address), host)(max(deadline - time.monotonic(), 0.001))
            except OSError as failed:
                error = failed
        raise error

    return connect


def _is_public(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_global
