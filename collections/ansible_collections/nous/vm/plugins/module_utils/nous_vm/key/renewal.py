# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new key for a host that is a copy of another one: unlike a rotation, nothing of the key from before stays, here or in the set that is published."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from .. import atomic, locks
from ..errors import ForeignError, NousVmError
from ..foreign import read_file
from . import jwk
from .check import configuration

FIRST = True
REMAINS = ["at once, because the server signs with the key from before until then: sudo nous-vm restart (of another issuer, restart its unit)"]
BITS = 3072  # of an RSA key, if the one from before cannot be read
WAIT = 60.0  # seconds for a run of the module oauth_key to end


def alone(path: Path, published: Path) -> contextlib.AbstractContextManager[None]:
    """Keep the module oauth_key from a key and its set meanwhile, by its own locks in its own order. Raises NousVmError if one of them is not there."""
    required(published, path)
    return locks.directories(published.parent, path.parent, wait=WAIT)


def new(path: Path, algorithm: str) -> tuple[bytes, jwk.KeyInfo]:
    """Return a new key like the one at a path, and its public half. Raises NousVmError."""
    if jwk.CRYPTOGRAPHY_ERROR:
        raise NousVmError("a key cannot be made without python3-cryptography; run the playbook site to install it")
    bits = BITS
    with contextlib.suppress(OSError, ForeignError, jwk.KeyProblem):
        bits = jwk.bits(jwk.read_pem(read_file(path), algorithm)) or BITS
    pem = jwk.generate_pem(algorithm, bits)
    return pem, jwk.read_pem(pem, algorithm)


def required(*paths: Path) -> None:
    """Raise NousVmError for a file that is not there."""
    if absent := next((path for path in paths if not path.exists()), None):
        raise NousVmError(f"{absent} is not there; the playbook site makes it")


def replace(path: Path, content: bytes) -> None:
    """Replace a file, which goes on to have its owner and mode."""
    about = path.stat()
    atomic.write(path, content, about.st_mode & 0o7777, (about.st_uid, about.st_gid))


def renew() -> Iterator[str]:
    """Make a new key and publish it alone; yield what was done."""
    about = configuration()
    path, published = Path(about.path), Path(about.jwks_path)
    with alone(path, published):
        pem, made = new(path, about.algorithm)
        replace(published, jwk.render_jwks([made.jwk]))  # a run that is cut here is seen by the check, and repeated
        replace(path, pem)
        Path(f"{path}.next").unlink(missing_ok=True)
    yield f"the signing key is new: {made.alg}, kid {made.kid}; tokens that the other host signed are worth nothing here any more"
