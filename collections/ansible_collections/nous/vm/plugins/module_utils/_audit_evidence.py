# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host has of the evidence of its audit log, file by file, and pieces of it: for nous.vm.audit_evidence, which runs on the host."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import typing as t
import zlib
from pathlib import Path

from .nous_vm.audit.checkpoint_rows import settings
from .nous_vm.audit.configuration import named
from .nous_vm.audit.lines import complete, first_line, opened
from .nous_vm.audit.verify import of_host
from .nous_vm.events import TRAIL
from .nous_vm.foreign import read_file

PIECE = 16 << 20  # bytes of a file that one execution returns at most
BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Source:
    """A file of the evidence. kind: log, anchors, trail or checkpoints. segment: of a log, the SHA-256 of its first line, which no rotation changes."""

    kind: str
    name: str
    segment: str
    path: Path

    @property
    def key(self) -> str:
        """What it is called between host and controller."""
        return f"{self.kind}/{self.name}/{self.segment}"


def sources(name: str) -> list[Source]:
    """Return the files of a rotation's evidence, of each log the oldest first. Raises NousVmError, OSError.

    What others name comes after them, so that it has come at least as far when it is looked at.
    """
    found = of_host(named(name), TRAIL)
    made = [Source(kind, "", "", path) for kind, path in (("checkpoints", found.checkpoints), ("trail", found.trail)) if path]
    made += [Source("anchors", path.name, "", path) for path in found.anchors]
    for log, paths in found.logs.items():
        for path in paths:
            with opened(path) as file:
                if line := first_line(file):
                    made.append(Source("log", log, hashlib.sha256(line).hexdigest(), path))
    return made


def described(source: Source, known: int) -> dict[str, t.Any]:
    """Return a file's size in complete lines, and the SHA-256 of its first KNOWN bytes, or of all if it has fewer."""
    digest, size = hashlib.sha256(), 0
    with opened(source.path) as file:
        end = None if source.path.suffix == ".gz" else complete(file)
        file.seek(0)
        while block := file.read(BLOCK if end is None else min(BLOCK, end - size)):
            digest.update(block[: max(known - size, 0)])
            size += len(block)
    return {"kind": source.kind, "name": source.name, "segment": source.segment, "size": size, "sha256": digest.hexdigest()}


def listing(name: str, known: dict[str, int]) -> list[dict[str, t.Any]]:
    """Return what there is. known: by the keys of files, how many of their bytes the controller has."""
    return [described(source, known.get(source.key, 0)) for source in sources(name)]


def piece(name: str, key: str, start: int, size: int) -> str | None:
    """Return some bytes of a file, compressed and in base64; None if there is no such file any more."""
    for source in sources(name):
        if source.key == key:
            with opened(source.path) as file:
                file.seek(start)
                return base64.b64encode(zlib.compress(file.read(min(size, PIECE)))).decode("ascii")
    return None


def published(name: str) -> str:
    """Return the JWK set of the keys that sign checkpoints, an empty text if none are made."""
    about = settings(named(name))
    return read_file(about["jwks"]).decode("utf-8") if about else ""
