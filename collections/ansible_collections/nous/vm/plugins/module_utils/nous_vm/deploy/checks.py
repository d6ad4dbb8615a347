# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's own checks: executables in /etc/nous-vm/checks.d/required and wanted, run after a candidate answers.

They run as an account of their own (DynamicUser=) with no right at all, in the server's network. A required one that fails rolls the candidate back; a wanted
one that fails is reported.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import NousVmError
from ..names import CONFIGURATION, Names
from ..sandbox import directives
from ..systemd import in_unit
from .configuration import Configuration

FOLDER = CONFIGURATION / "checks.d"
REQUIRED, WANTED = "required", "wanted"
EACH, TOGETHER = 20.0, 60.0  # seconds that one gets, and all of a kind


def found(kind: str) -> list[Path]:
    """Return the checks of a kind in the order of their names; raise NousVmError for a file that is none, or not root's alone."""
    paths = sorted(path for path in (FOLDER / kind).glob("[!.]*"))
    for path in (*([FOLDER, FOLDER / kind] if paths else []), *paths):
        about = path.lstat()
        good = stat.S_ISDIR(about.st_mode) if path.name in (FOLDER.name, kind) else stat.S_ISREG(about.st_mode) and about.st_mode & 0o111
        if not good or about.st_uid != os.geteuid() or about.st_mode & 0o022:
            raise NousVmError(f"{path} is no check: it has to be an executable file that root owns and nobody else can change")
    return paths


def failures(configuration: Configuration, names: Names, release: str, kind: str) -> Iterator[str]:
    """Run the checks of a kind and yield why each that fails does; nothing runs beyond the limit of time for all. Raises NousVmError."""
    how = list(properties(configuration, names, release))
    deadline = time.monotonic() + TOGETHER
    for path in found(kind):
        left = min(EACH, deadline - time.monotonic())
        if left <= 0:
            yield f"the {kind} check {path.name} was not run: those before it took {TOGETHER:g} s"
            continue
        done = in_unit(names.check, how, [path], timeout=left)
        if done.returncode:
            yield f"the {kind} check {path.name} fails: {done.complaint}"


def warnings(configuration: Configuration, names: Names, release: str) -> list[str]:
    """Run the wanted checks and return what is to be reported."""
    try:
        return list(failures(configuration, names, release, WANTED))
    except NousVmError as error:
        return [str(error)]


def properties(configuration: Configuration, names: Names, release: str) -> Iterator[str]:
    """Yield the properties of the unit that a check runs in."""
    yield from ("DynamicUser=yes", "User=nous-check", f"JoinsNamespaceOf={names.server}", "MemoryMax=256M", "TasksMax=64")
    yield from (f"Environment=NOUS_ADDRESS={configuration.address}", f"Environment=NOUS_HOST={configuration.host}", f"Environment=NOUS_RELEASE={release}")
    yield from directives({"RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6", "MemoryDenyWriteExecute": None})
