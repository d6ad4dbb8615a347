# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store of fetched files, root's alone, each under its SHA-256: what is in it is what its name says, or it is fetched anew."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..atomic import own_directory, read_json, write
from ..errors import ForeignError
from .pylock import Package, told
from .stream import digest
from .tools import BuildError

FOLDER = Path("/var/cache/nous-vm/store")
RESOLVED = 64  # resolutions that are remembered


class Store:
    """The files, and what the requirements of builds were resolved to."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self.resolutions = folder / "resolved.json"
        folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        os.close(own_directory(folder, 0o755))

    def has(self, sha256: str) -> bool:
        """Tell whether a file is there; one that is not what its name says is removed."""
        path = self.folder / sha256
        try:
            if digest(path) == sha256:
                return True
        except FileNotFoundError:
            return False
        except (OSError, ForeignError):
            pass
        path.unlink()
        return False

    def missing(self, packages: Iterable[Package]) -> list[Package]:
        """Return the packages whose files are not there, or damaged."""
        return [each for each in packages if not self.has(each.sha256)]

    def take(self, folder: Path) -> None:
        """Take files in, which a sandbox named by their SHA-256: only one that has it, whatever was asked for."""
        for path in folder.iterdir():
            known = digest(path)
            if known != path.name:
                raise BuildError(f"error: Hash mismatch: a file with {known} came instead of {path.name[:64]}")
            path.replace(self.folder / known)

    def show(self, packages: Iterable[Package], folder: Path) -> None:
        """Make a folder in which packages have their own names, for a build to look at."""
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(mode=0o755, parents=True)
        for each in packages:
            if not (folder / each.file).exists():
                (folder / each.file).hardlink_to(self.folder / each.sha256)

    def keys(self) -> list[str]:
        """Return of which builds the requirements were resolved."""
        return list(read_json(self.resolutions))

    def resolved(self, key: str) -> list[dict[str, str]]:
        """Return what the requirements of a build were resolved to, nothing if they never were."""
        return list(read_json(self.resolutions).get(key, []))

    def remember(self, key: str, packages: Iterable[Package]) -> None:
        """Write down what the requirements of a build were resolved to, so that the next build takes the same."""
        known: dict[str, Any] = {name: value for name, value in read_json(self.resolutions).items() if name != key}
        oldest = 1 - RESOLVED
        known = dict(list(known.items())[oldest:]) | {key: told(packages)}  # the oldest go
        write(self.resolutions, json.dumps(known).encode())

    def prune(self, wanted: set[str]) -> None:
        """Remove the files that nothing wants any more."""
        for path in self.folder.iterdir():
            if path != self.resolutions and path.name not in wanted:
                path.unlink()
