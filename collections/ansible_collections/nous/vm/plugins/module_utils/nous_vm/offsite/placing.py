# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a bare host the one that a set was made of: every file where it was, with its owner, mode and flags."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import inodes
from ..atomic import read_json, sync_directory, write_json
from ..errors import NousVmError, UsageError
from ..events import record
from ..locks import held
from ..names import CONFIGURATION, STATE
from . import sets
from .configuration import LOCK, RECORD, RESTORED, Configuration
from .operations import WAIT, fetch
from .sets import below

BEFORE = STATE / "restored"  # what is of the host before and not in its place: the keys that its checkpoints are verified with


def restore(about: Configuration, snapshot: str) -> dict[str, Any]:
    """Restore a set onto this host, which must have nothing of its own; return what came of it."""
    if RECORD.exists():
        done = read_json(RECORD)
        return done | {"changed": False}
    began = time.time()
    with held(LOCK, "restore of a host", wait=WAIT):
        manifest = fetch(about, RESTORED, snapshot)
        wanted = places(about, manifest)
        if there := [str(path) for path in wanted if path.exists()]:
            raise UsageError(f"this host is not bare: it has {there[0]}; a set is restored onto a new host alone")
        owners = {name: (number(pwd.getpwnam, each["owner"]), number(grp.getgrnam, each["group"])) for name, each in owned(manifest).items()}
        for path, (source, each) in wanted.items():
            place(below(RESTORED, source), path, each, manifest["directories"], owners)
        shutil.rmtree(RESTORED)
    made = {
        "host": manifest["host"],
        "machine": manifest["machine"],
        "onto": sets.machine(),
        "snapshot": manifest["snapshot"],
        "of": manifest["at"],
        "release": manifest["release"],
        "at": began,
        "seconds": round(time.time() - began, 1),
    }
    write_json(RECORD, made, 0o644)
    record("restored the host", before=str(made["host"]), machine=str(made["machine"]), onto=str(made["onto"]), snapshot=str(made["snapshot"]))
    return made | {"changed": True}


def places(about: Configuration, manifest: dict[str, Any]) -> dict[Path, tuple[str, dict[str, Any]]]:
    """Return where each file goes, by that place: its name in the set, and what is known of it. What the role writes itself stays as it is here."""
    found = {}
    listed = {each["path"]: each for each in manifest["files"].values()} | manifest["archives"]
    for name, each in listed.items():
        path = Path(name)
        if CONFIGURATION in path.parents:
            path = BEFORE / path.name
        elif name == about.jwks:
            path = BEFORE / "jwks.json"
        found[path] = (name, each)
    return found


def owned(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return all that gets an owner, by its path: the files, and the folders that are to be made."""
    made = {path: each for path, each in manifest["directories"].items() if not Path(path).exists()}
    return {**{each["path"]: each for each in manifest["files"].values()}, **manifest["archives"], **made}


def number(ask: Callable[[str], Any], name: str) -> int:
    """Return the number of an account or group; raise NousVmError if it is not here."""
    try:
        return int(name) if name.isdecimal() else int(ask(name)[2])
    except KeyError:
        raise NousVmError(f"there is no account or group {name} on this host: the playbook nous.vm.restore_host makes it") from None


def place(source: Path, path: Path, about: dict[str, Any], directories: dict[str, Any], owners: dict[str, tuple[int, int]]) -> None:
    """Move a file to its place, whose folders are made as they were."""
    for folder in reversed(path.parents):
        if not folder.exists():
            folder.mkdir(mode=0o755)
            if (known := directories.get(str(folder))) and str(folder) in owners:
                os.chown(folder, *owners[str(folder)])
                folder.chmod(known["mode"])
    shutil.move(source, path)
    os.chown(path, *owners[about["path"]], follow_symlinks=False)
    path.chmod(about["mode"])
    os.utime(path, (about["mtime"], about["mtime"]))
    sync_directory(path.parent)
    if about["immutable"]:
        inodes.change(path, on=inodes.IMMUTABLE)
