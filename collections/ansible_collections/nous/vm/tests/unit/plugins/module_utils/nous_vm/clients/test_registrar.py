# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One registration, read strictly and written anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.clients.messages import Request
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.clients.registrar import Registrar
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError

BACK = "http://localhost:3334/oauth/callback"
POST = Request("POST", "/register", {}, "160.79.104.9", {}, 0, "application/json; charset=utf-8")
GOOD = {"redirect_uris": [BACK], "client_name": "a client", "grant_types": ["password"], "scope": "admin", "client_uri": "https://x/"}


def registrar(failure: Exception | None = None) -> tuple[Registrar, list[Mapping[str, Any]]]:
    sent: list[Mapping[str, Any]] = []

    def register(metadata: Mapping[str, Any]) -> dict[str, Any]:
        if failure:
            raise failure
        sent.append(metadata)
        return {"client_id": "c", "client_secret": "s"}

    return Registrar([BACK], register), sent


def test_what_is_allowed_is_written_anew() -> None:
    made, sent = registrar()
    reply = made.answer(POST, json.dumps(GOOD).encode())
    assert (reply.status, json.loads(reply.body), made.client_id) == (201, {"client_id": "c", "client_secret": "s"}, "c")
    assert sent == [{"redirect_uris": [BACK], "token_endpoint_auth_method": "client_secret_post", "client_name": "a client"}]


def test_one_alone() -> None:
    made, sent = registrar()
    statuses = [made.answer(POST, json.dumps(GOOD).encode()).status for _time in range(2)]
    assert (statuses, len(sent)) == ([201, 403], 1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b"{" * 5000,
        json.dumps(GOOD | {"redirect_uris": []}).encode(),
        json.dumps(GOOD | {"redirect_uris": [BACK, "https://evil.example/"]}).encode(),
        json.dumps(GOOD | {"redirect_uris": BACK}).encode(),
        json.dumps(GOOD | {"redirect_uris": [[BACK]]}).encode(),
        json.dumps(GOOD | {"token_endpoint_auth_method": "private_key_jwt"}).encode(),
        json.dumps(GOOD | {"client_name": "x" * 101}).encode(),
        json.dumps(GOOD | {"client_name": "\u202e"}).encode(),
        json.dumps(GOOD | {"client_name": 1}).encode(),
        json.dumps(GOOD)[:-1].encode() + b', "redirect_uris": ["https://evil.example/"]}',
        b'{"redirect_uris": ["https://evil.example/"], ' + json.dumps(GOOD)[1:].encode(),
        b'{"x": {"y": 1, "y": 2}, ' + json.dumps(GOOD)[1:].encode(),
    ],
)
def test_what_is_not(body: bytes) -> None:
    made, sent = registrar()
    reply = made.answer(POST, body)
    assert (reply.status, json.loads(reply.body)["error"], sent, made.client_id) == (400, "invalid_client_metadata", [], "")


@pytest.mark.parametrize(
    ("request_", "status"),
    [(POST._replace(method="GET"), 405), (POST._replace(query={"x": "y"}), 405), (POST._replace(kind="text/plain"), 415), (POST._replace(path="/token"), 405)],
)
def test_other_requests(request_: Request, status: int) -> None:
    assert registrar()[0].answer(request_, json.dumps(GOOD).encode()).status == status


@pytest.mark.parametrize("failure", [OSError("gone"), NousVmError("answers 500")])
def test_a_server_that_does_not_register(failure: Exception) -> None:
    made, _sent = registrar(failure)
    assert (made.answer(POST, json.dumps(GOOD).encode()).status, made.client_id) == (502, "")
