# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a source needs, file by file: read from a pylock.toml (PEP 751), which uv makes of the source's lock or of requirements.

Of each package one file is taken, the wheel that fits this host best, or its source archive if none does; each has a SHA-256, or there is no release.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from ..foreign import printable
from .tools import BuildError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]{0,200}")
WHEEL = re.compile(r"[^-]+-[^-]+(?:-[0-9][^-]*)?-(?P<python>[^-]+)-(?P<abi>[^-]+)-(?P<platform>[^-]+)[.]whl")
SHA256 = re.compile("[0-9a-f]{64}")
MANYLINUX = {"manylinux1": 5, "manylinux2010": 12, "manylinux2014": 17}  # the oldest glibc 2.x that they are for


class Package(NamedTuple):
    """A package, and the one file of it that is installed. marker: on which hosts it is wanted (PEP 508), empty for all."""

    name: str
    version: str
    marker: str
    file: str
    url: str
    sha256: str

    @property
    def requirement(self) -> str:
        """The package as a line of requirements, with the hash of its file."""
        return f"{self.name}=={self.version}{f' ; {self.marker}' if self.marker else ''} --hash=sha256:{self.sha256}"

    @property
    def is_source(self) -> bool:
        """Whether it has to be built."""
        return not self.file.endswith(".whl")


class Host(NamedTuple):
    """What a wheel has to fit: version of Python (3.13), machine (x86_64), and glibc's second number."""

    python: str
    machine: str
    glibc: int

    @classmethod
    def here(cls, python: str) -> Host:
        """Return this host, for an interpreter of a version of Python."""
        libc = os.confstr("CS_GNU_LIBC_VERSION") or "glibc 2.0"
        return cls(python, os.uname().machine, int(libc.split(".")[1]))

    def rank(self, file: str) -> tuple[int, int, int] | None:
        """Return how well a wheel fits, None if it does not."""
        found = WHEEL.fullmatch(file)
        if not found:
            return None
        pythons = [self._python(tag, abi) for tag in found["python"].split(".") for abi in found["abi"].split(".")]
        platforms = [self._platform(tag) for tag in found["platform"].split(".")]
        python, platform = max(filter(None, pythons), default=None), max((each for each in platforms if each is not None), default=None)
        return None if python is None or platform is None else (*python, platform)

    def _python(self, tag: str, abi: str) -> tuple[int, int] | None:
        ours = int(self.python.split(".")[1])
        found = re.fullmatch("(cp|py)3([0-9]*)", tag)
        if not found:
            return None
        theirs = int(found[2] or 0)
        if found[1] == "cp" and theirs == ours and abi in (f"cp3{ours}", "none"):
            return (3, ours)
        if found[1] == "cp" and abi == "abi3" and theirs <= ours:
            return (2, theirs)
        return (1, theirs) if found[1] == "py" and abi == "none" and theirs <= ours else None

    def _platform(self, tag: str) -> int | None:
        if tag == "any":
            return -1
        kind = tag.removesuffix(f"_{self.machine}")
        if kind == tag:
            return None
        found = re.fullmatch("manylinux_2_([0-9]+)", kind)
        needed = int(found[1]) if found else {"linux": 0, **MANYLINUX}.get(kind)
        return needed if needed is not None and needed <= self.glibc else None


def check_lock(text: str) -> None:
    """Raise BuildError for a uv.lock that names something from a network without a SHA-256: uv would take whatever comes."""
    try:
        for package in tomllib.loads(text).get("package", []):
            files = package.get("wheels", []) + ([package["sdist"]] if "sdist" in package else [])
            remote = not {"registry", "url"}.isdisjoint(package.get("source", {}))
            if any(not str(file.get("hash")).startswith("sha256:") for file in files) or (remote and not files):
                what = printable(f"{package.get('name')} {package.get('version')}")
                raise BuildError(f"error: uv.lock has no hash for {what}, or one that is not SHA-256")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BuildError(f"error: uv.lock cannot be read: {printable(repr(error))}") from error


def parse(text: str, origin: str, host: Host, allowed: Mapping[str, Collection[str]] | None = None) -> list[Package]:
    """Return the packages of a pylock.toml; raise BuildError for one of which anything would be taken that comes, because it has no hash.

    allowed: by names of packages, the hashes of the wheels to choose from, instead of all files.
    """
    try:
        return [_package(each, origin, host, allowed) for each in tomllib.loads(text).get("packages", []) if not _is_here(each)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BuildError(f"error: {origin} cannot be read: {printable(repr(error))}") from error


def _is_here(package: dict[str, Any]) -> bool:
    """Tell whether a package is the wheel that was sent, which has its own hash."""
    return "path" in package.get("archive", {})


def _package(package: dict[str, Any], origin: str, host: Host, allowed: Mapping[str, Collection[str]] | None) -> Package:
    name, version = str(package["name"]), str(package.get("version", "0"))
    what = printable(f"{name} {version}")
    if "vcs" in package or "directory" in package:
        raise BuildError(f"error: {origin} has no hash for {what}: it is a folder or a repository, and not a file")
    wheels = [_file(each) for each in package.get("wheels", [])]
    sources = [_file(package[kind]) for kind in ("sdist", "archive") if kind in package]
    files = [*wheels, *sources]
    if not files or any(not SHA256.fullmatch(sha256) for _file, _url, sha256 in files):
        raise BuildError(f"error: {origin} has no hash for {what}, or one that is not SHA-256")
    if allowed is not None:
        files = [each for each in wheels if each[2] in allowed.get(name, ())]
    fitting = sorted(((rank, file) for file in files if (rank := host.rank(file[0]))), reverse=True)
    if allowed is not None and not fitting:
        raise BuildError(f"error: {origin} has the hash of no wheel of {what} that fits this host and that the index has")
    file, url, sha256 = fitting[0][1] if fitting else (*sources, *wheels)[0]
    marker = " ".join(str(package.get("marker", "")).split())
    if not NAME.fullmatch(name) or not NAME.fullmatch(version) or not NAME.fullmatch(file):
        raise BuildError(f"error: {origin} names {printable(file)} for {what}, which is no name")
    return Package(name, version, marker, file, url, sha256)


def _file(about: dict[str, Any]) -> tuple[str, str, str]:
    url = str(about["url"])
    return str(about.get("name") or PurePosixPath(unquote(urlsplit(url).path)).name), url, str(about.get("hashes", {}).get("sha256", ""))


def told(packages: Iterable[Package]) -> list[dict[str, str]]:
    """Return packages as JSON has them."""
    return [each._asdict() for each in packages]


def received(entries: object) -> list[Package]:
    """Return packages as a sandbox told them; raise BuildError for anything else."""
    try:
        packages = [Package(**{field: str(entry[field]) for field in Package._fields}) for entry in entries]  # type: ignore[attr-defined]
    except (TypeError, KeyError) as error:
        raise BuildError(f"error: the packages cannot be read: {printable(repr(error))}") from error
    for each in packages:
        known = all(NAME.fullmatch(word) for word in (each.name, each.version, each.file)) and SHA256.fullmatch(each.sha256)
        if not known or "\n" in each.marker or "\n" in each.url:
            raise BuildError(f"error: {printable(repr(each))} is no package")
    return packages
