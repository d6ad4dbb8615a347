# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bill of materials of a release, CycloneDX 1.6: the collection, what it installs at an exact version, and what it takes from the distribution."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

Component = dict[str, Any]
LOCKED = re.compile(r"^(?P<name>[a-z0-9._-]+)==(?P<version>[^ ]+)(?P<hashes>( --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)
LOCKS = {
    "roles/python_runtime/files/uv.txt": "installed on a host by the role python_runtime",
    "playbooks/files/ansible-core.txt": "installed on a new VM for its first boot, and removed after it",
}


def locked(collection: Path) -> Iterator[Component]:
    """Yield the packages of the locks, each with the digests of its wheels."""
    for name, why in LOCKS.items():
        for found in LOCKED.finditer((collection / name).read_text(encoding="utf-8")):
            purl = f"pkg:pypi/{found['name']}@{found['version']}"
            yield {
                "type": "library",
                "bom-ref": purl,
                "name": found["name"],
                "version": found["version"],
                "purl": purl,
                "scope": "optional",
                "description": f"{why} ({name})",
                # A component has one digest of each kind, and a package has a wheel for each machine.
                "properties": [{"name": "nous.vm:wheel:sha256", "value": each} for each in re.findall("sha256:([0-9a-f]+)", found["hashes"])],
            }


def distribution(collection: Path) -> Iterator[Component]:
    """Yield the packages of the distribution, at whatever version it has."""
    wanted: dict[str, list[str]] = {}
    for path in sorted(collection.glob("roles/*/defaults/main.yml")):
        for variable, names in (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).items():
            for name in names if variable.endswith("_packages") and isinstance(names, list) else ():
                wanted.setdefault(name, []).append(variable)
    for name in sorted(wanted):
        why = f"of the distribution, at its version: {', '.join(wanted[name])}"
        yield {"type": "library", "bom-ref": f"distribution:{name}", "name": name, "scope": "optional", "description": why}


def sbom(collection: Path, manifest: dict[str, Any], digest: str, when: datetime) -> dict[str, Any]:
    """Return the bill of materials of the archive with this SHA-256. manifest: what galaxy.yml has, as in MANIFEST.json."""
    name = f"{manifest['namespace']}.{manifest['name']}"
    itself = f"{name}@{manifest['version']}"
    components = [*locked(collection), *distribution(collection)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{name}@sha256:{digest}')}",
        "version": 1,
        "metadata": {
            "timestamp": f"{when:%Y-%m-%dT%H:%M:%SZ}",
            "component": {
                "type": "library",
                "bom-ref": itself,
                "group": manifest["namespace"],
                "name": manifest["name"],
                "version": manifest["version"],
                "description": manifest["description"],
                "hashes": [{"alg": "SHA-256", "content": digest}],
                "licenses": [{"license": {"id": each}} for each in manifest["license"]],
                "externalReferences": [{"type": "vcs", "url": manifest["repository"]}, {"type": "issue-tracker", "url": manifest["issues"]}],
            },
        },
        "components": components,
        "dependencies": [{"ref": itself, "dependsOn": [each["bom-ref"] for each in components]}],
    }
