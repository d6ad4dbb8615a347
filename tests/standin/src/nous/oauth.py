# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The authorization server behind the SDK's routes: opaque tokens in three JSON files, no login and no consent page."""

import contextlib
import json
import math
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    OAuthAuthorizationServerProvider,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

SCOPE = "mcp:tools"
CODE_SECONDS = 300
REFRESH_SECONDS = 30 * 24 * 3600


class Table:
    """A JSON object in a file of mode 0600, replaced whole and durably at each change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)

    def read(self) -> dict[str, Any]:
        try:
            rows: dict[str, Any] = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        return rows

    def write(self, rows: dict[str, Any]) -> None:
        aside = self.path.with_suffix(".new")
        aside.unlink(missing_ok=True)
        with open(aside, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            json.dump(rows, file)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(self.path)

    @contextlib.contextmanager
    def change(self) -> Iterator[dict[str, Any]]:
        rows = self.read()
        yield rows
        self.write({key: row for key, row in rows.items() if row.get("expires_at", math.inf) > time.time()})


class Provider(OAuthAuthorizationServerProvider[AuthorizationCode, RefreshToken, AccessToken]):
    """No method awaits anything, so each change of a file is whole within the one event loop."""

    def __init__(self, folder: Path, single_client: bool, access_ttl: int) -> None:
        self.single_client, self.access_ttl = single_client, access_ttl
        self.clients = Table(folder / "clients.json")
        self.codes = Table(folder / "codes.json")
        self.tokens = Table(folder / "tokens.json")

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        row = self.clients.read().get(client_id)
        return OAuthClientInformationFull.model_validate(row) if row else None

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        with self.clients.change() as clients:
            if self.single_client:
                clients.clear()
            clients[str(client_info.client_id)] = client_info.model_dump(mode="json", exclude_none=True)

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        code = AuthorizationCode(
            code=secrets.token_urlsafe(32),
            scopes=params.scopes or [SCOPE],
            expires_at=time.time() + CODE_SECONDS,
            client_id=str(client.client_id),
            code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
            resource=params.resource,
        )
        with self.codes.change() as codes:
            codes[code.code] = code.model_dump(mode="json")
        return construct_redirect_uri(str(params.redirect_uri), code=code.code, state=params.state)

    async def load_authorization_code(self, client: OAuthClientInformationFull, authorization_code: str) -> AuthorizationCode | None:
        row = self.codes.read().get(authorization_code)
        return AuthorizationCode.model_validate(row) if row else None

    async def exchange_authorization_code(self, client: OAuthClientInformationFull, authorization_code: AuthorizationCode) -> OAuthToken:
        with self.codes.change() as codes:
            del codes[authorization_code.code]
        return self._issue(str(client.client_id), authorization_code.scopes, secrets.token_hex(8))

    async def load_access_token(self, token: str) -> AccessToken | None:
        row = self.tokens.read().get(f"access:{token}")
        return AccessToken.model_validate(row) if row else None

    async def load_refresh_token(self, client: OAuthClientInformationFull, refresh_token: str) -> RefreshToken | None:
        row = self.tokens.read().get(f"refresh:{refresh_token}")
        return RefreshToken.model_validate(row) if row else None

    async def exchange_refresh_token(self, client: OAuthClientInformationFull, refresh_token: RefreshToken, scopes: list[str]) -> OAuthToken:
        with self.tokens.change() as tokens:
            family = tokens.pop(f"refresh:{refresh_token.token}")["family"]
        return self._issue(str(client.client_id), scopes, family)

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        with self.tokens.change() as tokens:
            row = tokens.get(f"access:{token.token}") or tokens.get(f"refresh:{token.token}")
            for key in [key for key, other in tokens.items() if row and other["family"] == row["family"]]:
                del tokens[key]

    def _issue(self, client_id: str, scopes: list[str], family: str) -> OAuthToken:
        access, refresh = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        row = {"client_id": client_id, "scopes": scopes, "family": family}
        with self.tokens.change() as tokens:
            tokens[f"access:{access}"] = {**row, "token": access, "expires_at": int(time.time()) + self.access_ttl}
            tokens[f"refresh:{refresh}"] = {**row, "token": refresh, "expires_at": int(time.time()) + REFRESH_SECONDS}
        return OAuthToken(access_token=access, refresh_token=refresh, expires_in=self.access_ttl, scope=" ".join(scopes))
