# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server of the gateway, asked on its own socket on this host: registration (RFC 7591), revocation (RFC 7009), authorization."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from .. import peers
from ..errors import ForeignError, NousVmError
from ..foreign import printable
from .configuration import Configuration

TIMEOUT = 30.0  # seconds for one answer; the local proxy keeps a request waiting while the server restarts
METADATA = "/.well-known/oauth-authorization-server"
GRANTS = ["authorization_code", "refresh_token"]


class Server:
    """The server behind the gateway."""

    def __init__(self, configuration: Configuration) -> None:
        self.host = configuration.hostname
        self.upstream = configuration.upstream

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> peers.Answer:
        """Ask the server. Raises OSError, ForeignError."""
        headers = {"Host": self.host, "X-Forwarded-Proto": "https", "X-Forwarded-Host": self.host, "Connection": "close"}
        headers |= {"Content-Type": kind} if kind else {}
        if self.upstream.startswith("unix/"):
            connect = peers.unix(self.upstream.removeprefix("unix/"))
        else:
            address, _colon, port = self.upstream.rpartition(":")
            connect = peers.tcp(address.strip("[]"), int(port))
        return peers.ask(connect, method, path, headers=headers, body=body, timeout=TIMEOUT)

    def register(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Register a client and return what the server says of it. Raises NousVmError, OSError."""
        answer = self.ask("POST", "/register", json.dumps({**metadata, "grant_types": GRANTS, "response_types": ["code"]}).encode(), "application/json")
        if answer.status != 201:
            raise NousVmError(f"the server answers {answer.status} to a registration: {printable(answer.body)}")
        found = answer.json()
        if not isinstance(found.get("client_id"), str) or not found["client_id"]:
            raise ForeignError("the server names no client_id in its answer to a registration")
        return found

    def revoke(self, client_id: str, secret: str, token: str, refresh: bool) -> None:
        """Revoke a token in the name of its client. Raises NousVmError, OSError."""
        kind = "refresh_token" if refresh else "access_token"
        form = urlencode({"token": token, "token_type_hint": kind, "client_id": client_id, "client_secret": secret})
        answer = self.ask("POST", "/revoke", form.encode(), "application/x-www-form-urlencoded")
        if answer.status != 200:
            raise NousVmError(f"the server answers {answer.status} to a revocation: {printable(answer.body)}")

    def settled(self) -> None:
        """Wait until the server has ended what it was just doing: it does one thing at a time, and answers this after it. Raises NousVmError, OSError."""
        answer = self.ask("GET", METADATA)
        if answer.status != 200:
            raise NousVmError(f"the server answers {answer.status} to {METADATA}")
