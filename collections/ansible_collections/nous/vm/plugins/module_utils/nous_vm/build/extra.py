# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Extra requirements, which the operator brings: lines NAME==VERSION --hash=sha256:..., of wheels that come on top of what a release needs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from ..foreign import printable
from .pylock import Package
from .sbom import normalized
from .tools import BuildError

NAME = re.compile("[A-Za-z0-9._-]+")
HASH = re.compile("--hash=sha256:([0-9a-f]{64})")


def hashes(requirements: str) -> dict[str, set[str]]:
    """Return the SHA-256 that the operator allows, by the names of packages."""
    found: dict[str, set[str]] = {}
    for line in requirements.splitlines():
        if name := NAME.match(line):
            found.setdefault(normalized(name[0]), set()).update(HASH.findall(line))
    return found


def besides(found: Iterable[Package], requirements: str, packages: Collection[Package]) -> list[Package]:
    """Return what comes on top of the packages of a release; raise BuildError for what is no wheel, or none that the operator has the hash of."""
    allowed, there = hashes(requirements), {(normalized(each.name), each.version) for each in packages}
    more = [each for each in found if (normalized(each.name), each.version) not in there]
    for each in more:
        if each.is_source or each.sha256 not in allowed.get(normalized(each.name), set()):
            raise BuildError(f"error: nous_service_extra_requirements has no hash of {printable(each.file)}, or that is no wheel")
    return more
