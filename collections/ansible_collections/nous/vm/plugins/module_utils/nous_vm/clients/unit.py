# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The window of an enrolment, in its unit: root's process looks for the first token, one of Caddy's account answers requests. Both end together."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
from collections.abc import Iterator
from typing import Any, NoReturn

from ..errors import ForeignError, UsageError
from ..foreign import parse_json
from ..output import write
from . import configuration as paths
from . import enrolment, outcome, state, window
from .authorizer import Handler, become_caddy, line, listening, serve
from .configuration import Configuration
from .gatekeeper import Gatekeeper
from .messages import Reply, Request
from .registrar import BODY, Registrar
from .server import Server

LOOK = 0.2  # seconds between two looks
EVENT = 1 << 16  # bytes that are read of what the serving process tells


def keep_open(config: Configuration) -> None:
    """Keep the window open until its client has a token, its time is over, or the process that serves it ends. Raises UsageError if there is none."""
    about = window.current()
    if about is None:
        raise UsageError("no enrolment is open; sudo nous-vm clients enrol NAME opens one")
    signal.signal(signal.SIGTERM, _stopped)
    reader, theirs = os.pipe2(os.O_CLOEXEC)
    parent, ours = os.pipe2(os.O_CLOEXEC)
    sockets = [listening(paths.AUTHORIZE), *([listening(paths.REGISTER)] if about.dynamic else [])]
    pid = os.fork()
    if not pid:
        os.close(ours)
        _serve(config, about, sockets, parent, theirs)
    os.close(theirs)
    os.close(parent)
    try:
        _watch(config, about, reader)
    finally:
        os.close(ours)  # which ends the process that serves
        os.waitpid(pid, 0)


def _stopped(_signal: int, _frame: object) -> NoReturn:
    """End by way of the finally clauses: somebody closed the enrolment."""
    raise SystemExit(0)


def _watch(config: Configuration, about: window.Window, reader: int) -> None:
    """Return when the window is to be closed."""
    known: tuple[int, int, int] | None = None
    client_id = about.client_id
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        while about.is_open():
            if selector.select(LOOK):
                block = os.read(reader, EVENT)
                if not block:
                    return
                client_id = _told(config, block) or client_id
            if client_id and (seen := state.version(config.directory)) != known:
                known = seen
                if state.read(config.directory).tokens_of(client_id):
                    return


def _told(config: Configuration, block: bytes) -> str:
    """Act on what the serving process tells; return the ID of a client that registered."""
    client_id = ""
    for each in _documents(block):
        if isinstance(registered := each.get("registered"), str) and (about := window.pending()) and not about.client_id:
            client_id = enrolment.registered(config, about, registered).client_id
        if isinstance(event := each.get("event"), str):
            outcome.add(event)
            write(event)
    return client_id


def _documents(block: bytes) -> Iterator[dict[str, Any]]:
    for each in block.splitlines():
        with contextlib.suppress(ForeignError):
            yield parse_json(each, "an event")


def handlers(config: Configuration, about: window.Window, tell: int) -> list[tuple[Handler, int]]:
    """Return what answers requests for /authorize and /register, and the most bytes of their bodies."""
    server = Server(config)
    gatekeeper = Gatekeeper(about, config.operator_cidrs, lambda path: server.ask("GET", path))
    registrar = Registrar(about.redirect_uris, server.register)

    def authorize(request: Request, _body: bytes) -> Reply:
        return gatekeeper.answer(request)

    def register(request: Request, body: bytes) -> Reply:
        reply = registrar.answer(request, body)
        if reply.status == 201:
            uris = list(json.loads(body)["redirect_uris"])
            gatekeeper.window = about._replace(client_id=registrar.client_id, redirect_uris=uris)
            os.write(tell, line({"registered": registrar.client_id}))
        return reply

    return [(authorize, 0), (register, BODY)]


def _serve(config: Configuration, about: window.Window, sockets: list[socket.socket], parent: int, tell: int) -> NoReturn:
    """Answer requests, in the process that is Caddy's, until the other one ends."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        become_caddy()
        serve(dict(zip(sockets, handlers(config, about, tell), strict=False)), parent, lambda told: _tell(tell, told))
        code = 0
    finally:
        os._exit(code)


def _tell(pipe: int, told: dict[str, str]) -> None:
    os.write(pipe, line(told))
