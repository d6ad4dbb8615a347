# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new key for the checkpoints of a host that is a copy of another one. The public half of the one from before stays: it signed what is in the log so far."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..foreign import read_file
from ..key import jwk
from ..key.renewal import alone, new, replace
from .checkpoint_rows import settings
from .configuration import everything

REMAINS = ["the log up to here is that of both hosts: have ansible-playbook nous.vm.fetch_audit fetch it into a folder of its own, and pin the new key there"]


def renew() -> Iterator[str]:
    """Make a new key for each rotation that has checkpoints; yield what was done."""
    for config in everything():
        about = settings(config)
        if about is None:
            continue
        path, published = Path(about["key"]), Path(about["jwks"])
        with alone(path, published):
            pem, made = new(path, "EdDSA")
            known = jwk.parse_jwks(read_file(published))
            replace(published, jwk.render_jwks([made.jwk, *known]))
            replace(path, pem)
            for other in path.parent.glob("*.pem"):
                if other != path:
                    other.unlink()
        yield f"the key of the checkpoints of {config.name} is new: kid {made.kid}"
