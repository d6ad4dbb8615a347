# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tasks of one run of ansible-playbook share, though each is a process of its own: a key, what was seen, and which results were used already.

All is in the folder that ansible-core makes for one run, for its user alone, and removes at its end.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import re
import secrets
import typing as t
from pathlib import Path

from ansible import constants

if t.TYPE_CHECKING:
    from collections.abc import Iterable

NAME = "nous-vm-key"


def folder() -> Path:
    """Return the folder of this run."""
    return Path(constants.DEFAULT_LOCAL_TMP)


def key() -> str:
    """Return the key of this run, 64 hexadecimal digits, which no output has: without it, a digest of a secret tells nothing."""
    path = folder() / NAME
    if not path.exists():
        own = path.with_name(f"{NAME}.{secrets.token_hex(8)}")
        with open(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
        with contextlib.suppress(FileExistsError):  # another fork's is as good
            os.link(own, path)
        own.unlink()
    return path.read_text(encoding="ascii")


def digest(content: bytes, with_key: str) -> str:
    """Return the digest of content as the probe of a run with this key has it."""
    return hmac.new(bytes.fromhex(with_key), content, "sha256").hexdigest()


def _result(identity: str) -> Path:
    return folder() / f"nous-vm-result-{identity}"


def record(seen: t.Mapping[str, t.Any]) -> str:
    """Keep what a probe of this run saw; return a number for that."""
    identity = secrets.token_hex(16)
    with open(os.open(_result(identity), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w", encoding="utf-8") as file:
        file.write(json.dumps(seen))
    return identity


def _is_known(identity: object) -> t.TypeGuard[str]:
    return isinstance(identity, str) and re.fullmatch("[0-9a-f]{32}", identity) is not None and _result(identity).exists()


def recall(identity: object) -> dict[str, t.Any] | None:
    """Return what was kept under a number, None if that is no number of this run."""
    if not _is_known(identity):
        return None
    found: dict[str, t.Any] = json.loads(_result(identity).read_text(encoding="utf-8"))
    return found


def use(identity: str, names: Iterable[str]) -> bool:
    """Use a result for these roles; tell whether it is of this run and that was the first time, for each of them."""
    if not _is_known(identity):
        return False
    fresh = True
    for name in names:
        try:
            (folder() / f"nous-vm-used-{identity}-{name}").touch(mode=0o600, exist_ok=False)
        except FileExistsError:
            fresh = False
    return fresh
