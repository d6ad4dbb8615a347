# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions to a foreign peer over HTTP: one deadline for the whole exchange, a bound for the answer."""

from __future__ import annotations

import functools
import http.client
import io
import os
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from typing import IO, Any, NamedTuple

from .errors import ForeignError
from .foreign import parse_json, printable

ANSWER = 1 << 20  # bytes of an answer that are read
BLOCK = 1 << 16


class Answer(NamedTuple):
    """What a peer answered. headers: by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """Return the JSON object in the body, or in the first event of a stream; raise ForeignError if there is none."""
        body = self.body
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            body = next((line[5:] for line in body.splitlines() if line.startswith(b"data:")), b"")
        return parse_json(body, "the answer")


class _Reader(io.RawIOBase):
    """What comes from a socket, until a deadline and up to a limit."""

    def __init__(self, connected: socket.socket, deadline: float, limit: int) -> None:
        self.connected, self.deadline, self.left = connected, deadline, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.left <= 0:
            raise ForeignError("the answer is too large")
        self.connected.settimeout(_remaining(self.deadline))
        count = self.connected.recv_into(buffer, min(len(buffer), self.left))
        self.left -= count
        return count


class _Bounded:
    """A connected socket as http.client uses it, whose every wait ends at one deadline."""

    def __init__(self, connected: socket.socket, deadline: float, limit: int) -> None:
        self.connected, self.deadline, self.limit = connected, deadline, limit

    def sendall(self, data: bytes) -> None:
        self.connected.settimeout(_remaining(self.deadline))
        self.connected.sendall(data)

    def makefile(self, _mode: str) -> IO[bytes]:
        return io.BufferedReader(_Reader(self.connected, self.deadline, self.limit))

    def close(self) -> None:
        """Do nothing: http.client closes it before it reads an answer that ends with the connection, and who connected closes it afterwards."""


def _remaining(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("it did not answer in time")
    return left


def ask(
    connect: Callable[[float], socket.socket],
    method: str,
    path: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None = None,
    timeout: float,
    limit: int = ANSWER,
    first_event: bool = False,
    head_only: bool = False,
) -> Answer:
    """Ask a peer and return its answer; every failure is an OSError or a ForeignError.

    connect: takes the seconds that are left and returns a connected socket. timeout: seconds for all of it. limit: bytes of head and body together.
    first_event: of an event stream, read the first event and no more, because a stream may last. head_only: read status and headers, and no body.
    """
    deadline = time.monotonic() + timeout
    with connect(timeout) as connected:
        connection = http.client.HTTPConnection("localhost")
        connection.sock = _Bounded(connected, deadline, limit)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            if head_only:
                content = b""
            elif first_event and response.getheader("Content-Type", "").startswith("text/event-stream"):
                content = next((line for line in response if line.startswith(b"data:")), b"")
            else:
                content = b"".join(iter(functools.partial(response.read1, BLOCK), b""))  # read() would reserve what Content-Length claims
                if response.length:
                    raise http.client.IncompleteRead(content[:0], response.length)
        except http.client.HTTPException as error:
            raise ForeignError(f"it does not speak HTTP: {printable(repr(error))}") from None
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)


def tcp(host: str, port: int) -> Callable[[float], socket.socket]:
    """Return a function that connects to an address."""
    return lambda timeout: socket.create_connection((host, port), timeout)


def tls(connect: Callable[[float], socket.socket], hostname: str, context: ssl.SSLContext | None = None) -> Callable[[float], ssl.SSLSocket]:
    """Return a function that shakes hands for a host name on what another one connects. context: one that verifies the certificate by default."""

    def secure(timeout: float) -> ssl.SSLSocket:
        deadline = time.monotonic() + timeout
        plain = connect(timeout)
        try:
            plain.settimeout(max(deadline - time.monotonic(), 0.001))
            return (context or ssl.create_default_context()).wrap_socket(plain, server_hostname=hostname)
        except BaseException:
            plain.close()
            raise

    return secure


def unix(path: str) -> Callable[[float], socket.socket]:
    """Return a function that connects to a unix socket."""
    return at(socket.AF_UNIX, path)


def at(family: int, address: str | tuple[Any, ...]) -> Callable[[float], socket.socket]:
    """Return a function that connects to an address as the family has it, and looks nothing up."""

    def connect(timeout: float) -> socket.socket:
        made = socket.socket(family)
        try:
            made.settimeout(timeout)
            made.connect(address)
        except BaseException:
            made.close()
            raise
        return made

    return connect


def in_network_of(pid: int, address: str, port: int) -> Callable[[float], socket.socket]:
    """Return a function that connects to an IPv4 address in the network of a process, which no other may be in."""

    def connect(timeout: float) -> socket.socket:
        with open("/proc/self/ns/net", "rb") as own, open(f"/proc/{pid}/ns/net", "rb") as theirs:
            try:
                os.setns(theirs.fileno(), os.CLONE_NEWNET)
                return at(socket.AF_INET, (address, port))(timeout)
            finally:
                os.setns(own.fileno(), os.CLONE_NEWNET)

    return connect
