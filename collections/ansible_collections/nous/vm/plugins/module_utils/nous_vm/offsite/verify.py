# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read everything of a set that was restored, and tell what is wrong with it. It runs in a sandbox, and believes nothing that it reads."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import NousVmError
from .configuration import Configuration
from .sets import DATABASE, below, manifest_of, opened


def faults(about: Configuration, folder: Path) -> Iterator[str]:
    """Yield what is wrong: files that lack or differ, a damaged database, a chain that is broken."""
    manifest = manifest_of(folder)
    for name, each in manifest["files"].items():
        yield from _file(below(folder, each["path"]), each)
        if name == DATABASE:
            yield from _database(below(folder, each["path"]))
    for path, each in manifest["archives"].items():
        yield from _file(below(folder, path), each)
    yield from _audit(about, folder, manifest)


def _file(path: Path, about: dict[str, Any]) -> Iterator[str]:
    try:
        with opened(path) as file:
            digest, size = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
    except OSError as error:
        yield f"{about['path']} cannot be read: {error.strerror}"
        return
    if size != about["size"] or about.get("sha256", digest) != digest:
        yield f"{about['path']} is not what was saved"


def _database(path: Path) -> Iterator[str]:
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
        try:
            (sound,) = connection.execute("PRAGMA quick_check").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        sound = str(error)
    if sound != "ok":
        yield f"the database is damaged: {sound}"


def _audit(about: Configuration, folder: Path, manifest: dict[str, Any]) -> Iterator[str]:
    """Yield what nous-vm audit verify finds, where a log is in the set and that command is here."""
    logs = [Path(each) for each in about.append if f"{each}.*" in about.archives]
    there = {each["path"] for each in manifest["files"].values()}
    if not any(str(each) in there for each in logs):
        return
    try:
        from ..audit.lines import archives
        from ..audit.verify import Evidence, keys, verify
    except ImportError:
        return
    others = [below(folder, each) for each in about.append if each in there and Path(each) not in logs]
    evidence = Evidence(
        logs={each.name: [*archives(below(folder, str(each)).parent, each.name), below(folder, str(each))] for each in logs if str(each) in there},
        anchors=[each for each in others if "anchors" in each.name],
        trail=next((each for each in others if each.name.startswith("trail")), None),
        checkpoints=next((each for each in others if each.name.endswith(".jws")), None),
    )
    jwks = below(folder, about.jwks) if about.jwks else None
    try:
        trusted = keys(jwks) if jwks and jwks.exists() and evidence.checkpoints else None
        yield from (part.line() for part in verify(lambda: evidence, trusted) if part.fault)
    except NousVmError as error:
        yield str(error)
