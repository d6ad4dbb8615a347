# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Known vulnerabilities of what a release is made of, from a dump of OSV that an operator brings: all.zip of PyPI, an advisory, or a list of them."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..foreign import printable, read_file
from .sbom import normalized

DUMP = 512 << 20  # bytes of a JSON file
ADVISORY = 16 << 20  # bytes of one advisory in an archive


def advisories(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the advisories in a file; raise UsageError if it has none."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                for name in packed.namelist():
                    with packed.open(name) as file:
                        yield dict(json.loads(file.read(ADVISORY)))
            return
        found = json.loads(read_file(path, DUMP))
        yield from ([found] if isinstance(found, dict) else map(dict, found))
    except (ValueError, TypeError, RecursionError, zipfile.BadZipFile) as error:
        raise UsageError(f"{path} is no dump of OSV: {printable(str(error))}; it is all.zip of the ecosystem PyPI, for example") from None


def affected(known: Iterable[dict[str, Any]], packages: dict[str, str]) -> list[dict[str, str]]:
    """Return what is known of packages (version by normalized name): advisory, package, version, summary, and fixed, where it is known."""
    found = []
    for advisory in known:
        if advisory.get("withdrawn"):
            continue
        for about in advisory.get("affected", []):
            name = normalized(str(about.get("package", {}).get("name")))
            version = packages.get(name)
            if version is not None and about.get("package", {}).get("ecosystem") == "PyPI" and _has(about, version):
                fixed = [str(event["fixed"]) for each in about.get("ranges", []) for event in each.get("events", []) if "fixed" in event]
                row = {"advisory": str(advisory.get("id")), "package": name, "version": version, "fixed": ", ".join(fixed)}
                found.append({key: printable(value) for key, value in (row | {"summary": str(advisory.get("summary", ""))}).items()})
    return sorted(found, key=lambda row: (row["package"], row["advisory"]))


def _has(about: dict[str, Any], version: str) -> bool:
    """Tell whether a version is affected: it is listed, or lies in a range. Where a version cannot be compared it is: a person looks."""
    if version in about.get("versions", []):
        return True
    for each in about.get("ranges", []):
        if each.get("type") != "ECOSYSTEM":
            continue
        inside = False
        for event in each.get("events", []):
            kind, limit = next(iter(event.items()))
            if kind == "introduced" and _key(version) >= _key(str(limit)):
                inside = True
            elif (kind == "fixed" and _key(version) >= _key(str(limit))) or (kind == "last_affected" and _key(version) > _key(str(limit))):
                inside = False
        if inside:
            return True
    return False


def _key(version: str) -> tuple[tuple[int, ...], int]:
    """Return what versions are ordered by: the numbers of the release, and whether it is one before it (1.0rc1, 1.0.dev2)."""
    found = re.match(r"v?(?:[0-9]+!)?([0-9]+(?:[.][0-9]+)*)(.*)", version)
    if not found:
        return (), 0
    numbers = tuple(int(each) for each in found[1].split("."))
    while numbers and numbers[-1] == 0:
        numbers = numbers[:-1]
    return numbers, -1 if re.match("[._-]?(a|b|c|rc|alpha|beta|pre|preview|dev)[._-]?[0-9]*", found[2]) else 0
