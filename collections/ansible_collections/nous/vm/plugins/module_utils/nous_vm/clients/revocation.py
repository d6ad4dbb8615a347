# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients are taken away: their tokens by RFC 7009 on the server's own socket, and then the clients themselves.

A client first gets a secret of ours, so that nobody else can get tokens in its name meanwhile; then the server is asked once, after which nothing that began
before is under way any more. Its files are read at each request, and written at registrations and with tokens.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

from ..errors import NousVmError
from . import state
from .configuration import Configuration
from .server import GRANTS, Server

LOOKS = 3  # at the tokens that are left


def revoke(configuration: Configuration, client_ids: Iterable[str]) -> int:
    """Take clients away, also those that the server does not know any more but by their tokens; return how many tokens were revoked.

    Raises NousVmError, OSError.
    """
    server, directory = Server(configuration), configuration.directory
    before = state.read(directory)
    ours = {client_id: _with_secret(client_id, before.clients.get(client_id, {}), configuration) for client_id in client_ids}
    if not ours:
        return 0
    state.change(directory, put=ours)
    count = 0
    for _look in range(LOOKS):
        server.settled()
        left = [each for each in state.read(directory).tokens if each.client_id in ours]
        if not left:
            state.change(directory, drop=ours)
            return count
        for each in left:
            server.revoke(each.client_id, ours[each.client_id]["client_secret"], each.token, each.refresh)
            count += 1
    raise NousVmError(f"{len(left)} tokens are left after {LOOKS} revocations; the clients cannot get others, and these end with their time")


def _with_secret(client_id: str, record: dict[str, Any], configuration: Configuration) -> dict[str, Any]:
    """Return the server's record of a client, with a secret that nobody knows."""
    least = {"redirect_uris": configuration.redirect_uris[:1], "grant_types": GRANTS, "response_types": ["code"]}
    ours = {
        "client_id": client_id,
        "client_secret": secrets.token_hex(32),
        "client_secret_expires_at": None,
        "token_endpoint_auth_method": "client_secret_post",
    }
    return least | record | ours
