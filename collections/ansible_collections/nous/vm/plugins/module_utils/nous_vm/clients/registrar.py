# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One registration of a client that cannot be given an ID (RFC 7591): read strictly, and written anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import ForeignError, NousVmError
from ..foreign import printable
from .messages import Reply, Request, denied

BODY = 16 << 10  # bytes of a registration
NAME = 100  # characters of a client's name
METHODS = ("none", "client_secret_post", "client_secret_basic")


class Registrar:
    """Takes one registration. register: registers metadata with the server. redirect_uris: what a client may name."""

    def __init__(self, redirect_uris: Iterable[str], register: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
        self.redirect_uris, self.register = list(redirect_uris), register
        self.client_id = ""

    def answer(self, request: Request, body: bytes) -> Reply:
        """Return the answer to a request for /register."""
        if request.method != "POST" or request.path != "/register" or request.query:
            return denied(405, "only POST, without a query")
        if request.kind.partition(";")[0].strip().lower() != "application/json":
            return denied(415, "only application/json")
        if self.client_id:
            return denied(403, "this enrolment had its registration already", f"one more registration, from {printable(request.source)}, was denied")
        try:
            wanted = metadata(body, self.redirect_uris)
        except ForeignError as error:
            reason = printable(str(error))
            about = json.dumps({"error": "invalid_client_metadata", "error_description": reason})
            return Reply(400, {"Content-Type": "application/json"}, about, f"a registration from {printable(request.source)} was denied: {reason}")
        try:
            found = self.register(wanted)
        except (OSError, NousVmError) as error:
            return denied(502, "the server does not register it", f"the server did not register it: {printable(str(error))}")
        self.client_id = found["client_id"]
        event = f"{printable(str(wanted.get('client_name', 'a client')))} at {printable(request.source)} registered as {printable(self.client_id)}"
        return Reply(201, {"Content-Type": "application/json"}, json.dumps(found), event)


def metadata(body: bytes, redirect_uris: Iterable[str]) -> dict[str, Any]:
    """Return what is taken of a registration. Raises ForeignError for what is not allowed, or stands twice: another parser could take the other one."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ForeignError("a key stands twice")
        return found

    try:
        wanted = json.loads(body.decode("utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError):
        raise ForeignError("it is not JSON") from None
    uris = wanted.get("redirect_uris") if isinstance(wanted, dict) else None
    allowed = list(redirect_uris)
    if not isinstance(uris, list) or not uris or not all(isinstance(each, str) and each in allowed for each in uris):
        raise ForeignError(f"redirect_uris has another than {', '.join(allowed)}")
    method = wanted.get("token_endpoint_auth_method", "client_secret_post")
    if method not in METHODS:
        raise ForeignError(f"token_endpoint_auth_method is not one of {', '.join(METHODS)}")
    name = wanted.get("client_name", "")
    if not isinstance(name, str) or len(name) > NAME or not name.isprintable():
        raise ForeignError(f"client_name is not a text of at most {NAME} printable characters")
    return {"redirect_uris": list(dict.fromkeys(uris)), "token_endpoint_auth_method": method, **({"client_name": name} if name else {})}
