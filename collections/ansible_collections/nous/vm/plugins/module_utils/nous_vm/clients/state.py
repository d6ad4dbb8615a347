# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server keeps of its clients, by way of its own account: root follows no name in a folder that another can write to."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ForeignError, NousVmError
from ..foreign import parse_json
from ..names import COMMAND, PYTHON
from ..programs import run
from .files import CLIENTS, TOKENS

TIMEOUT = 20.0  # seconds for one look or change
ANSWER = 64 << 20  # bytes of what the two files hold


class Token(NamedTuple):
    """A token. refresh: whether it is one for new tokens. expires_at: seconds since the epoch. consumed: whether it was exchanged already."""

    token: str
    client_id: str
    refresh: bool
    expires_at: int
    consumed: bool


class State(NamedTuple):
    """The clients that the server knows, by their IDs, and all tokens that have not expired."""

    clients: dict[str, dict[str, Any]]
    tokens: list[Token]

    def tokens_of(self, client_id: str) -> list[Token]:
        """Return the tokens of a client."""
        return [each for each in self.tokens if each.client_id == client_id]


def read(directory: Path) -> State:
    """Return what the server keeps; nothing if the folder is absent. Raises NousVmError."""
    return change(directory)


def change(directory: Path, put: Mapping[str, Any] | None = None, drop: Iterable[str] = ()) -> State:
    """Put clients into the server's file, drop others, and return what it keeps then. Raises NousVmError."""
    account = _account(directory)
    if account is None:
        if put:
            raise NousVmError(f"{directory} is absent: the server keeps no clients there; caddy_gateway_clients_directory says where it does")
        return State({}, [])
    if not put and not any(os.path.lexists(directory / name) for name in (CLIENTS, TOKENS)):
        return State({}, [])  # without a process of the account's, which a check would have every time
    wanted = json.dumps({"directory": str(directory), "put": dict(put or {}), "drop": list(drop)}).encode()
    argv: list[str | Path] = [PYTHON, "-I", COMMAND, "clients", "files", "--json"]
    done = run(argv, timeout=TIMEOUT, limit=ANSWER, stdin=wanted, user=account[0], group=account[1], extra_groups=[])
    try:
        found = parse_json(done.stdout, "what nous-vm clients files printed")
        known, tokens = found["clients"], [Token(**each) for each in found["tokens"]]
    except (ForeignError, KeyError, TypeError):
        raise NousVmError(f"the files in {directory} cannot be used: {done.complaint}") from None
    now = time.time()
    return State(known, [each for each in tokens if each.expires_at >= now])


def _account(directory: Path) -> tuple[int, int] | None:
    """Return uid and gid of the account whose folder it is, which is never root's; None if there is none."""
    try:
        found = os.lstat(directory)
    except FileNotFoundError:
        return None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid == 0:
        raise NousVmError(f"{directory} is not a folder of the server's own account; caddy_gateway_clients_directory is where the server keeps clients.json")
    return found.st_uid, found.st_gid


def version(directory: Path) -> tuple[int, int, int]:
    """Return what changes when the server writes a token. Raises OSError if that cannot be seen."""
    try:
        found = os.stat(directory / TOKENS)
    except FileNotFoundError:
        return (0, 0, 0)
    return found.st_ino, found.st_mtime_ns, found.st_size
