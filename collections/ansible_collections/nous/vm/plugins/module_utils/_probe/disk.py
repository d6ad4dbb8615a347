# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of the disk: files with their digests, free space, what a pattern matches, append-only flags."""

from __future__ import annotations

import glob
import hmac
import os
import re
import shutil
import stat
import typing as t
from pathlib import Path

from .._accounts import group_name, user_name
from .._byte_code import PYTHON, is_valid, tag
from ..nous_vm import inodes
from ..nous_vm.errors import ForeignError, NousVmError
from ..nous_vm.foreign import read_file

MOST_PATHS = 5000
MOST_CONTENT = 1 << 20  # bytes of a file that is digested
TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{16}\.nous-vm")  # what a killed run of nous.vm.files leaves beside a file
KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}


def expanded(patterns: list[str]) -> list[str]:
    """Return the paths that are there of these, some of which may be patterns, without byte code; raise NousVmError if they are too many."""
    found: dict[str, None] = {}
    for pattern in patterns:
        for path in glob.iglob(pattern, recursive=True, include_hidden=True) if glob.has_magic(pattern) else [pattern]:
            if os.path.lexists(path) and "/__pycache__" not in path:
                found[path.rstrip("/") or "/"] = None
            if len(found) > MOST_PATHS:
                raise NousVmError(f"more than {MOST_PATHS} paths match")
    return list(found)


def left_behind(folders: set[str]) -> list[str]:
    """Return the paths for which a killed run of nous.vm.files left temporary files beside them."""
    found = ((folder, TEMPORARY.fullmatch(name)) for folder in sorted(folders) for name in os.listdir(folder))
    return sorted({os.path.join(folder, match[1]) for folder, match in found if match})


def paths(patterns: list[str], key: bytes) -> dict[str, dict[str, t.Any]]:
    """Return kind, mode, owner, group and digest of what is there, by path, and "left" for a path that a killed run left something beside."""
    every = expanded(patterns)
    left = left_behind({os.path.dirname(path) for path in every})
    compiled_for = tag(PYTHON)
    found = {path: described(path, key, compiled_for) for path in [*every, *left]}
    return {path: about | ({"left": True} if path in left else {}) for path, about in found.items()}


def described(path: str, key: bytes, compiled_for: str) -> dict[str, t.Any]:
    """Return what is known of a path, and of a Python module whether it has byte code of this tag; nothing of a path that is not there."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return {}
    kind = KINDS.get(stat.S_IFMT(status.st_mode), "other")
    about: dict[str, t.Any] = {
        "kind": kind,
        "mode": f"{stat.S_IMODE(status.st_mode):04o}",
        "owner": user_name(status.st_uid),
        "group": group_name(status.st_gid),
    }
    about |= {"uid": status.st_uid, "gid": status.st_gid}
    if kind == "file":
        about["digest"] = digest(path, key)
    if kind == "file" and path.endswith(".py"):
        about["compiled"] = is_valid(Path(path), compiled_for)
    return about


def digest(path: str, key: bytes) -> str | None:
    """Return the keyed digest of a file; None of one that is too large, or not to be read."""
    try:
        return hmac.new(key, read_file(path, MOST_CONTENT), "sha256").hexdigest()
    except (OSError, ForeignError):
        return None


def space(folders: list[str]) -> dict[str, int]:
    """Return the MiB that are free where these folders are or will be."""
    found = {}
    for folder in folders:
        place = os.path.realpath(folder)
        while not os.path.isdir(place):
            place = os.path.dirname(place)
        found[folder] = shutil.disk_usage(place).free >> 20
    return found


def matches(patterns: list[str]) -> dict[str, bool]:
    """Tell of each pattern whether something matches it."""
    return {pattern: bool(glob.glob(pattern)) for pattern in patterns}


def flags(files: list[str]) -> dict[str, bool]:
    """Tell of each file whether it is append-only; one that is not there is not."""
    found = {}
    for path in files:
        try:
            found[path] = bool(inodes.flags(Path(path)) & inodes.APPEND_ONLY)
        except OSError:
            found[path] = False
    return found
