# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server as weak as nous: a second registration replaces the first, and /authorize gives everybody a code.

tests/standin holds it to what the stand-in does.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from ansible_collections.nous.vm.plugins.module_utils.nous_vm.clients.state import State, Token
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.peers import Answer

HOUR = 3600


class FakeServer:
    """Answers as the server's OAuth routes do, and keeps clients and tokens as its files do."""

    def __init__(self, single: bool = True) -> None:
        self.single = single
        self.clients: dict[str, dict[str, Any]] = {}
        self.codes: dict[str, str] = {}
        self.tokens: dict[str, Token] = {}
        self.numbers = itertools.count(1)

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> Answer:
        target = urlsplit(path)
        route = getattr(self, f"{method}_{target.path.rpartition('/')[2]}".lower().replace("-", "_"))
        if kind == "application/json":
            return self.answer(*route(json.loads(body or b"")))
        fields = parse_qs((body or b"").decode() or target.query, keep_blank_values=True)
        return self.answer(*route({key: values[0] for key, values in fields.items()}))

    @staticmethod
    def answer(status: int, document: object = None, location: str = "") -> Answer:
        return Answer(status, {"location": location} if location else {}, b"" if document is None else json.dumps(document).encode())

    def get_oauth_authorization_server(self, _fields: dict[str, str]) -> tuple[int, object]:
        return 200, {}

    def post_register(self, metadata: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        client_id = f"client-{next(self.numbers)}"
        record = {**metadata, "client_id": client_id, "client_secret": f"secret-{next(self.numbers)}"}
        if self.single:
            self.clients.clear()
        self.clients[client_id] = record
        return 201, record

    def get_authorize(self, fields: dict[str, str]) -> tuple[Any, ...]:
        if fields.get("client_id") not in self.clients:
            return 400, {"error": "invalid_request"}
        code = f"code-{next(self.numbers)}"
        self.codes[code] = fields["client_id"]
        return self.redirect(f"{fields['redirect_uri']}?{urlencode({'code': code})}")

    @staticmethod
    def redirect(location: str) -> tuple[Any, ...]:
        return 302, None, location

    def authenticated(self, fields: dict[str, str]) -> bool:
        known = self.clients.get(fields["client_id"])
        return known is not None and known["client_secret"] == fields.get("client_secret")

    def post_token(self, fields: dict[str, str]) -> tuple[int, object]:
        if not self.authenticated(fields):
            return 401, {"error": "unauthorized_client"}
        held = self.tokens.get(fields.get("refresh_token", ""))
        given = self.codes.pop(fields["code"], "") if "code" in fields else held.client_id if held and held.refresh else ""
        if given != fields["client_id"]:
            return 400, {"error": "invalid_grant"}
        self.tokens.pop(fields.get("refresh_token", ""), None)
        made = {}
        for name in ("access_token", "refresh_token"):
            made[name] = f"token-{next(self.numbers)}"
            self.tokens[made[name]] = Token(made[name], given, name == "refresh_token", int(time.time()) + HOUR, False)
        return 200, made

    def post_revoke(self, fields: dict[str, str]) -> tuple[int, object]:
        if not self.authenticated(fields):
            return 401, {"error": "unauthorized_client"}
        held = self.tokens.get(fields["token"])
        if held and held.client_id == fields["client_id"]:
            del self.tokens[fields["token"]]
        return 200, None

    def call(self, token: str) -> int:
        """Return how a tool call with an access token is answered: a token works on when its client is gone."""
        return 200 if token in self.tokens and not self.tokens[token].refresh else 401

    def state(self, _directory: Path) -> State:
        return State(dict(self.clients), list(self.tokens.values()))

    def change(self, directory: Path, put: Mapping[str, Any] | None = None, drop: Iterable[str] = ()) -> State:
        self.clients |= {key: dict(each) for key, each in (put or {}).items()}
        for key in drop:
            self.clients.pop(key, None)
        return self.state(directory)
