# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the health check on the signing key: permissions, the key itself, its age, and what is published of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import ForeignError
from ..foreign import read_file
from ..health import Row, permissions
from ..names import CONFIGURATION
from . import jwk

DAY = 86400


class Configuration(NamedTuple):
    """What /etc/nous-vm/key.json holds. permissions: by path, as "0600 root:root"."""

    path: str
    algorithm: str
    jwks_path: str
    rotate_after_days: int
    permissions: dict[str, str]


def configuration() -> Configuration:
    """Return the configuration that the role wrote."""
    return Configuration(**json.loads((CONFIGURATION / "key.json").read_bytes()))


def signing_key(about: Configuration) -> tuple[jwk.KeyInfo, float]:
    """Return the public half of the key that signs, and when it was made, in seconds since the epoch. Raises OSError, ForeignError, KeyProblem."""
    if jwk.CRYPTOGRAPHY_ERROR:
        raise jwk.KeyProblem("cannot be read without python3-cryptography; run the playbook site to install it")
    key = jwk.read_pem(read_file(about.path), about.algorithm)
    return key, Path(about.path).stat().st_mtime


def check() -> Iterator[Row]:
    """Yield a row for each thing that is expected of the key."""
    about = configuration()
    for name, expected in about.permissions.items():
        yield Row(f"mode of {Path(name).name}", *permissions(Path(name), expected))
    try:
        key, made = signing_key(about)
    except (OSError, ForeignError, jwk.KeyProblem) as problem:
        yield Row("signing key", "fail", _failure(about.path, problem))
        return
    age = int((time.time() - made) // DAY)
    yield Row("signing key", "ok", f"{key.alg}, kid {key.kid}, {age} days old")
    due = age >= about.rotate_after_days
    yield Row("rotation", "warn" if due else "ok", f"due at {about.rotate_after_days} days")
    yield from _published(about, key)


def _published(about: Configuration, key: jwk.KeyInfo) -> Iterator[Row]:
    try:
        published = jwk.parse_jwks(read_file(about.jwks_path))
    except (OSError, ForeignError, jwk.KeyProblem) as problem:
        yield Row("published keys", "fail", _failure(about.jwks_path, problem))
        return
    old = [one for one in published if one["kid"] != key.kid]
    if key.jwk in published:
        yield Row("published keys", "ok", f"the one that signs and {len(old)} others")
    else:
        yield Row("published keys", "fail", f"the one that signs is not among the {len(published)}")
    unfinished = Path(f"{about.path}.next").exists() or any("exp" not in one for one in old)
    yield Row("rotation finished", "warn" if unfinished else "ok", "no" if unfinished else "yes")


def _failure(path: str, problem: Exception) -> str:
    return str(problem) if isinstance(problem, ForeignError) else f"{path} {getattr(problem, 'strerror', problem)}"
