# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release: a folder ROOT/releases/RELEASE with the source, a virtual environment and, written last and by root alone, its record.

A name is never taken for content: a release is built if its record is of this release, and every path, mode and byte in the folder is as it was when root
wrote the record. What a build made has no say in that, because root wrote all of it from outside (stream.py).
"""

from __future__ import annotations

import ctypes
import os
import shutil
from pathlib import Path
from typing import Any

from .. import times
from ..atomic import sync_directory, write, write_json
from ..errors import ForeignError
from ..foreign import printable, read_file, read_json
from ..programs import run
from . import stream
from .tools import BuildError

COMPLETE, SBOM = "release.json", "sbom.json"
FAILED = "failed.json"  # of the deployment: that a release failed, and why, outlives it
OWN = (COMPLETE, SBOM, FAILED)
RECORD = 16 << 20  # bytes of a record


def minor(version: str) -> str:
    """Return what two versions of Python have in common that run the same release."""
    return ".".join(version.split(".")[:2])


def remove(folder: Path) -> None:
    """Remove a release, but for the note that it failed."""
    if folder.is_symlink():
        folder.unlink()
    if not folder.exists():
        return
    (folder / COMPLETE).unlink(missing_ok=True)  # first, so that half of one is no release
    for path in list(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != FAILED:
            path.unlink()
    if not (folder / FAILED).exists():
        folder.rmdir()


def record(folder: Path) -> dict[str, Any]:
    """Return the record of a release, nothing if there is none."""
    try:
        return read_json(folder / COMPLETE, RECORD)
    except (OSError, ForeignError):
        return {}


def damage(folder: Path) -> str | None:
    """Return why a folder is not the release that its record is of: there is none, it is another's, or what it tells of has changed since."""
    known = record(folder)
    if known.get("release") != folder.name or not isinstance(known.get("tree"), dict):
        return f"{folder.name} is not built"
    try:
        found = stream.read(folder, OWN)
    except (OSError, ForeignError) as error:
        return f"{folder.name} is damaged: {printable(str(error))}"
    if found.digest != known["tree"].get("sha256"):
        before = f"{known['tree'].get('size')} bytes in {known['tree'].get('entries')} entries"
        return f"{folder.name} is damaged: it was built with {before}, has {found.size} bytes in {found.entries} entries, and another digest"
    return None


def seems_whole(folder: Path) -> bool:
    """Tell whether a release has as many entries and bytes as it was built with, which a power cut changes. Only damage() tells that it is what it was."""
    known = record(folder).get("tree", {})
    try:
        found = stream.read(folder, OWN, contents=False)
    except (OSError, ForeignError):
        return False
    return (found.entries, found.size) == (known.get("entries"), known.get("size"))


def failure(folder: Path) -> str | None:
    """Return why a release is known to fail with any settings."""
    try:
        known = read_json(folder / FAILED)
    except (OSError, ForeignError):
        return None
    if not known or known.get("settings") is not None:
        return None
    since = times.second(float(known.get("at") or 0))
    return f"on {since} it failed: {printable(str(known.get('reason')))}; it is not built again until that is asked for (--again)"


def clear(releases: Path, building: Path) -> None:
    """Remove what builds that were interrupted left."""
    for path in building.iterdir():
        shutil.rmtree(path)
    for path in releases.iterdir():
        if path.is_dir() and not (path / COMPLETE).exists():
            remove(path)


def complete(folder: Path, about: dict[str, Any], tree: stream.Tree) -> None:
    """Write down that a release is complete, once it would outlast a power cut."""
    done = run(["sync", "--file-system", folder], timeout=600)
    if done.returncode:
        raise BuildError(f"error: {done.complaint}")
    write_json(folder / COMPLETE, about | {"release": folder.name, "tree": {"sha256": tree.digest, "entries": tree.entries, "size": tree.size}}, 0o644)
    sync_directory(folder.parent)


def put_in_place(made: Path, folder: Path) -> None:
    """Have a complete release take its place, in one step though another is there, which may be the one that runs."""
    if (folder / FAILED).exists():
        write(made / FAILED, read_file(folder / FAILED))
    if not folder.exists():
        made.rename(folder)
    else:
        _exchange(made, folder)
        shutil.rmtree(made)
    sync_directory(folder.parent)


def _exchange(one: Path, other: Path) -> None:
    """Exchange two folders, as renameat2(2) does with RENAME_EXCHANGE."""
    here, exchange = -100, 2
    if ctypes.CDLL(None, use_errno=True).renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(one))
