# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server keeps of its clients, with the rights of its own account: root's own follow no name in a folder that another can write to."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ForeignError, NousVmError
from ..foreign import printable
from . import files


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
    try:
        with _rights_of(*account):
            if put or drop:
                files.change(directory, put or {}, drop)
            found = files.read(directory)
    except (ForeignError, OSError, ValueError, TypeError, OverflowError) as error:  # the last three of what is no number
        raise NousVmError(f"the files in {directory} cannot be used: {printable(str(error))}") from None
    now, tokens = time.time(), [Token(**each) for each in found["tokens"]]
    return State(found["clients"], [each for each in tokens if each.expires_at >= now])


@contextlib.contextmanager
def _rights_of(uid: int, gid: int) -> Iterator[None]:
    """Have the kernel check each access by an account's rights, as in `with`. The process stays root's: nobody of the account can signal or trace it."""
    groups = os.getgroups()
    try:
        os.setgroups([])
        os.setegid(gid)
        os.seteuid(uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


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
        found = os.stat(directory / files.TOKENS)
    except FileNotFoundError:
        return (0, 0, 0)
    return found.st_ino, found.st_mtime_ns, found.st_size
