# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release is made of, as CycloneDX: for scanners, and for nous-vm releases show."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from .pylock import Package


def normalized(name: str) -> str:
    """Return a package's name as registries compare it."""
    return re.sub("[-_.]+", "-", name).lower()


def installed(venv: Path) -> set[tuple[str, str]]:
    """Return name and version of what is installed in a virtual environment, by the names of its folders."""
    found = (path.name.removesuffix(".dist-info").partition("-") for path in venv.glob("lib/python*/site-packages/*.dist-info"))
    return {(normalized(name), version) for name, _hyphen, version in found}


def component(package: Package, scope: str) -> dict[str, Any]:
    name = normalized(package.name)
    return {
        "type": "library",
        "bom-ref": f"pkg:pypi/{name}@{package.version}?file_name={package.file}",
        "name": name,
        "version": package.version,
        "purl": f"pkg:pypi/{name}@{package.version}",
        "scope": scope,
        "hashes": [{"alg": "SHA-256", "content": package.sha256}],
        "externalReferences": [{"type": "distribution", "url": package.url}],
    }


def document(
    release: str, about: dict[str, Any], packages: Collection[Package], needed: Collection[Package], there: Collection[tuple[str, str]]
) -> dict[str, Any]:
    """Return the bill of materials of a release: what is installed in it, and, as excluded, what it was built with."""
    own = [each for each in packages if (normalized(each.name), each.version) in there]
    components = [component(each, "required") for each in own] + [component(each, "excluded") for each in needed if each not in own]
    version = str(about["commit"] or about["made_of"].get("sha256") or about["made_of"].get("requirement"))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"timestamp": about["built_at"], "component": {"type": "application", "bom-ref": release, "name": "nous", "version": version}},
        "components": components,
    }
