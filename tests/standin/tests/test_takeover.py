# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in is as weak as nous, and so is the fake that the unit tests of clients use: the same requests are answered alike."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.clients.fake import FakeServer
from conftest import Server

BACK = "http://localhost:3334/oauth/callback"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
Ask = Callable[[str, str, bytes | None, str], tuple[int, dict[str, Any], str]]  # method, path, body, its kind; status, document, location


def takeover(ask: Ask, call: Callable[[str], int]) -> list[object]:
    """Return how each step of a takeover is answered, and of the revocation that ends it."""
    seen: list[object] = []

    def post(path: str, **fields: str) -> tuple[int, dict[str, Any]]:
        status, document, _location = ask("POST", path, urlencode(fields).encode(), "application/x-www-form-urlencoded")
        seen.append((path, status, document.get("error", "")))
        return status, document

    def registered() -> dict[str, str]:
        body = b'{"redirect_uris": ["%s"], "token_endpoint_auth_method": "client_secret_post", "grant_types": ["authorization_code", "refresh_token"]}'
        status, document, _location = ask("POST", "/register", body % BACK.encode(), "application/json")
        seen.append(("/register", status))
        return {key: document[key] for key in ("client_id", "client_secret")}

    def token(client: dict[str, str]) -> dict[str, Any]:
        query = {"response_type": "code", "client_id": client["client_id"], "redirect_uri": BACK, "code_challenge": CHALLENGE, "code_challenge_method": "S256"}
        status, _document, location = ask("GET", f"/authorize?{urlencode(query)}", None, "")
        seen.append(("/authorize", status))
        code = parse_qs(urlsplit(location).query)["code"][0]
        exchange = client | {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "code_verifier": VERIFIER}
        made = post("/token", **exchange)[1]
        seen.append(("a tool", call(made["access_token"])))
        return made

    def refreshed(client: dict[str, str], made: dict[str, Any]) -> dict[str, Any]:
        return post("/token", **client, grant_type="refresh_token", refresh_token=made["refresh_token"])[1]

    operator = registered()
    mine = refreshed(operator, token(operator))
    stranger = registered()
    theirs = token(stranger)
    refreshed(operator, mine)
    seen.append(("the evicted one's tool", call(mine["access_token"])))
    post("/revoke", **operator, token=mine["access_token"])
    for made in (theirs["access_token"], theirs["refresh_token"]):
        post("/revoke", **stranger, token=made)
    seen.append(("a revoked token's tool", call(theirs["access_token"])))
    refreshed(stranger, theirs)
    return seen


def test_the_stand_in_and_the_fake_are_as_weak_as_nous(server: Server) -> None:
    def ask(method: str, path: str, body: bytes | None, kind: str) -> tuple[int, dict[str, Any], str]:
        answer = httpx.request(method, server.url + path, content=body, headers={"Content-Type": kind} if kind else {})
        return answer.status_code, answer.json() if answer.content else {}, answer.headers.get("location", "")

    def call(token: str) -> int:
        return 401 if server.post({"Authorization": f"Bearer {token}"}).status_code == 401 else 200

    fake = FakeServer()

    def ask_fake(method: str, path: str, body: bytes | None, kind: str) -> tuple[int, dict[str, Any], str]:
        answer = fake.ask(method, path, body, kind)
        return answer.status, answer.json() if answer.body else {}, answer.headers.get("location", "")

    real = takeover(ask, call)
    assert real == takeover(ask_fake, fake.call)
    assert ("/token", 401, "unauthorized_client") in real, "the operator was evicted"
    assert ("the evicted one's tool", 200) in real, "by a client whose place it took, and whose tokens live on"
    assert ("a revoked token's tool", 401) in real
