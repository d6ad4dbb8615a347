# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release: a folder ROOT/releases/RELEASE with the source, a virtual environment and, written last, release.json: without that it is not complete."""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

from ..atomic import sync_directory, write
from ..errors import ForeignError
from ..foreign import read_json
from .tools import Tools

COMPLETE = "release.json"
FAILED = "failed.json"  # of the deployment: that a release failed, and why, outlives it
VERSION = "import platform; print(platform.python_version())"


def minor(version: str) -> list[str]:
    """Return what two versions of Python have in common that run the same release."""
    return version.split(".")[:2]


def remove(folder: Path) -> None:
    """Remove a release, but for the note that it failed."""
    if folder.is_symlink():  # made by a build, and it could lead anywhere
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


def is_built(tools: Tools, folder: Path) -> bool:
    """Tell whether a release is complete and its interpreter still the one that it was built for."""
    try:
        python = str(read_json(folder / COMPLETE)["python"])
    except (OSError, ForeignError, KeyError):
        return False
    return minor(tools.ask(folder / "venv/bin/python", "-c", VERSION).text.strip()) == minor(python)


def clear(releases: Path, release: str) -> None:
    """Remove what builds that were interrupted left, and this release."""
    for path in releases.iterdir():
        if path.is_dir() and (path.name == release or not (path / COMPLETE).exists()):
            remove(path)


def make_readable(folder: Path) -> None:
    """Let the server read all of a release, whatever the modes in the archive and in uv's cache."""
    failed = str(folder / FAILED)  # lines of the journal are in it, which are root's
    for place, _folders, files in os.walk(folder):
        for path in (place, *(os.path.join(place, file) for file in files)):
            mode = os.lstat(path).st_mode
            wanted = 0o755 if stat.S_ISDIR(mode) or mode & 0o111 else 0o644
            if not stat.S_ISLNK(mode) and stat.S_IMODE(mode) != wanted and path != failed:
                os.chmod(path, wanted)


def complete(tools: Tools, folder: Path, about: dict[str, Any]) -> None:
    """Write down that a release is complete, once it would outlast a power cut."""
    tools.run("sync", "--file-system", folder)
    write(folder / COMPLETE, (json.dumps(about, indent=4) + "\n").encode(), 0o644)
    sync_directory(folder.parent)
