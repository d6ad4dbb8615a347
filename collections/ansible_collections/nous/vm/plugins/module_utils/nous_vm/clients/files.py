# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server's files on its clients, read and changed with the rights of the server's own account: clients.json by client ID, tokens.json by token."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..atomic import write
from ..foreign import read_json

CLIENTS, TOKENS = "clients.json", "tokens.json"
LIMIT = 16 << 20  # bytes of one file
REFRESH = "refresh:"  # before a refresh token's key


def read(directory: Path) -> dict[str, Any]:
    """Return the clients and tokens that the server knows; none of a file that is absent. Raises OSError, ForeignError."""
    known, issued = (_object(directory / name) for name in (CLIENTS, TOKENS))
    clients = {key: record for key, record in known.items() if isinstance(record, dict)}
    tokens = [
        {
            "token": str(row["token"]),
            "client_id": str(row.get("client_id", "")),
            "refresh": key.startswith(REFRESH),
            "expires_at": int(row.get("expires_at") or 0),
            "consumed": bool(row.get("consumed")),
        }
        for key, row in issued.items()
        if isinstance(row, dict) and "token" in row
    ]
    return {"clients": clients, "tokens": tokens}


def change(directory: Path, put: Mapping[str, Any], drop: Iterable[str]) -> None:
    """Put clients into the server's file, and drop others. The server reads it at each request, and writes it at a registration alone."""
    path = directory / CLIENTS
    before = _object(path)
    dropped = set(drop)
    after = {key: record for key, record in (before | dict(put)).items() if key not in dropped}
    if after != before:
        write(path, json.dumps(after, indent=2).encode())


def _object(path: Path) -> dict[str, Any]:
    with contextlib.suppress(FileNotFoundError):
        return read_json(path, LIMIT)
    return {}
