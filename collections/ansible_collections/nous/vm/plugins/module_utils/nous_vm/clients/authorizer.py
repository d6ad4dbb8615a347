# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serves the requests of an open enrolment on sockets that Caddy alone can open, in a process of Caddy's account that ends with the one that made it."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import selectors
import socket
import time
from collections.abc import Callable
from pathlib import Path

from ..errors import ForeignError
from ..foreign import printable
from . import configuration
from .messages import Reply, Request, denied, parsed

HEAD = 64 << 10  # bytes of a request's head; the gateway takes less
READ = 5.0  # seconds for one request to be there; Caddy has its head when it connects
BACKLOG = 64

Handler = Callable[[Request, bytes], Reply]


def listening(path: Path) -> socket.socket:
    """Return a socket that listens for Caddy alone. A file beside it tells Caddy that it does: from 2.11 on, Caddy looks for files that it can open."""
    made = socket.socket(socket.AF_UNIX)
    mask = os.umask(0o177)
    try:
        made.bind(str(path))
    finally:
        os.umask(mask)
    account = pwd.getpwnam(configuration.USER)
    os.chown(path, account.pw_uid, account.pw_gid)
    made.listen(BACKLOG)
    path.with_suffix(".open").touch()
    path.with_suffix(".open").chmod(0o644)
    return made


def become_caddy() -> None:
    """Give up all rights but those of Caddy's account, for good."""
    account = pwd.getpwnam(configuration.USER)
    os.setgroups([])
    os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)


def serve(handlers: dict[socket.socket, tuple[Handler, int]], parent: int, tell: Callable[[dict[str, str]], None]) -> None:
    """Answer what comes to the sockets until the other end of a pipe is closed. handlers: what answers, and the most bytes that a body has, by socket."""
    with selectors.DefaultSelector() as selector:
        selector.register(parent, selectors.EVENT_READ)
        for each in handlers:
            selector.register(each, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _events in selector.select()}
            if parent in ready:
                return
            for listener, (handler, limit) in handlers.items():
                if listener.fileno() in ready:
                    with contextlib.suppress(OSError):  # of one connection, whatever it is
                        connection, _address = listener.accept()
                        with connection:
                            _one(connection, handler, limit, tell)


def _one(connection: socket.socket, handler: Handler, limit: int, tell: Callable[[dict[str, str]], None]) -> None:
    """Answer the one request of a connection."""
    try:
        head, rest = _head(connection)
        request = parsed(head)
        body = _body(connection, rest, request.length, limit)
        reply = handler(request, body)
    except ForeignError as error:
        reply = denied(400, printable(str(error)))
    if reply.event:
        tell({"event": reply.event})
    connection.settimeout(READ)
    connection.sendall(reply.encoded())


def _receive(connection: socket.socket, deadline: float) -> bytes:
    connection.settimeout(max(deadline - time.monotonic(), 0.001))
    block = connection.recv(1 << 16)
    if not block:
        raise ForeignError("the request is not complete")
    return block


def _head(connection: socket.socket) -> tuple[bytes, bytes]:
    deadline, received = time.monotonic() + READ, b""
    while b"\r\n\r\n" not in received:
        if len(received) > HEAD:
            raise ForeignError("the request's head is too large")
        received += _receive(connection, deadline)
    head, end, rest = received.partition(b"\r\n\r\n")
    return head + end, rest


def _body(connection: socket.socket, rest: bytes, length: int, limit: int) -> bytes:
    if not limit:
        return b""
    if length > limit:
        raise ForeignError(f"the body has more than {limit} bytes")
    deadline = time.monotonic() + READ
    while len(rest) < length:
        rest += _receive(connection, deadline)
    return rest[:length]


def line(about: dict[str, str]) -> bytes:
    """Return what the serving process tells the one that made it."""
    return json.dumps(about).encode() + b"\n"
