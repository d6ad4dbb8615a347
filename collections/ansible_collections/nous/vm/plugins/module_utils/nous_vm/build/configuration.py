# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release is built from: /etc/nous-vm/build.json, or another file.

release             its name; no other can be built from this file
root, python, uv    directory of the releases, interpreter to build for, installer
environment         variables for git and uv, which fetch
extra_requirements  what else is installed: lines NAME==VERSION --hash=sha256:..., or nothing
space               MiB that a release, or what it is made of, may take
lock                what to do about a lock that does not fit its source: warn or fail
source              kind git (url, ref, signers: lines as in ssh's allowed_signers), archive (archive, sha256: a .tar.gz or .whl on this host, removed
                    afterwards) or index (requirement); constraints; description: what to call it
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UsageError
from ..foreign import printable
from ..names import CONFIGURATION

PATH = CONFIGURATION / "build.json"
CACHE = Path("/var/cache/nous-vm")


class Configuration(NamedTuple):
    """What a release is built from, as the documentation of this module says."""

    release: str
    root: Path
    python: str
    uv: str
    environment: dict[str, str]
    extra_requirements: str
    space: int
    lock: str
    source: dict[str, Any]

    @property
    def releases(self) -> Path:
        """The folder of the releases."""
        return self.root / "releases"

    @property
    def building(self) -> Path:
        """Where a release is written before it is complete."""
        return self.root / "building"

    @property
    def archive(self) -> Path | None:
        """The archive that the source is, if it is one."""
        return Path(self.source["archive"]) if self.source["kind"] == "archive" else None

    def at(self, release: str, commit: str) -> Configuration:
        """Return what to build another commit of the same repository from."""
        return self._replace(release=release, source=self.source | {"ref": commit})

    def text(self) -> str:
        """Return it as JSON, for the program that builds."""
        return json.dumps(self._asdict() | {"root": str(self.root)})


def load(path: str = str(PATH)) -> Configuration:
    """Return what a file ("-": standard input) says; raise UsageError if it is not there or not complete."""
    try:
        about = json.loads(sys.stdin.read() if path == "-" else Path(path).read_bytes())
        return Configuration(
            release=str(about["release"]),
            root=Path(about["root"]),
            python=str(about["python"]),
            uv=str(about["uv"]),
            environment={str(name): str(value) for name, value in about["environment"].items()},
            extra_requirements=str(about["extra_requirements"]),
            space=int(about["space"]),
            lock=str(about["lock"]),
            source=_source(about["source"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} cannot be used: {printable(repr(error))}") from None


def _source(source: dict[str, Any]) -> dict[str, Any]:
    """Return a source that has what its kind needs."""
    needed = {"git": ["url", "ref", "signers"], "archive": ["archive", "sha256"], "index": ["requirement"]}[source["kind"]]
    return {name: source[name] for name in ("kind", "description", "constraints", *needed)}
