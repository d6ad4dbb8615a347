# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a deployment needs of its host, looked at before anything is changed: what lacks is no fault of the release, which must not be marked for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import ForeignError
from ..foreign import open_file
from ..names import PYTHON
from ..programs import run
from ..systemd import ANSWER, systemctl
from .backups import Backups
from .configuration import Configuration

ROOM, INODES = 16 << 20, 64  # bytes and files that a deployment writes: records, units, a log that goes on
APPEND = "import os, sys; os.close(os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK))"
ACCOUNT = 10.0  # seconds for what is looked at as the server's account
KNOWN = ("running", "degraded", "starting", "initializing", "maintenance")


def lacks(configuration: Configuration, backups: Backups, backup: bool) -> str | None:
    """Return what this host lacks for a deployment, all of it in one sentence; None if nothing."""
    found = [*_systemd(), *_audit(configuration), *_room(configuration), *_credentials(configuration)]
    if backup and (reason := backups.lack_of_space()):
        found.append(reason)
    return f"this host lacks what a deployment needs: {'; '.join(found)}" if found else None


def _systemd() -> Iterator[str]:
    state = systemctl("is-system-running", timeout=ANSWER)
    if state == "stopping":
        yield "the host is going down"
    elif state not in KNOWN:
        yield f"systemd does not answer (is-system-running: {state or 'nothing'})"


def _audit(configuration: Configuration) -> Iterator[str]:
    """The server runs on without its audit file, and nobody would notice. It is opened as the server's account, which another could have taken it from."""
    done = run([PYTHON, "-I", "-c", APPEND, configuration.audit], timeout=ACCOUNT, user=configuration.user, group=configuration.group, extra_groups=[])
    if done.returncode:
        yield f"{configuration.user} cannot append to {configuration.audit}: {done.complaint}"


def _room(configuration: Configuration) -> Iterator[str]:
    """Full, or read-only: by file system, each named once."""
    seen = set()
    for path in (configuration.root, configuration.path.parent, configuration.audit.parent, Path(configuration.home)):
        try:
            found, device = os.statvfs(path), path.stat().st_dev
        except OSError as error:
            yield f"{path} cannot be used: {error.strerror}"
            continue
        if device in seen:
            continue
        seen.add(device)
        if found.f_flag & os.ST_RDONLY:
            yield f"{path} is on a file system that is read-only"
        elif (free := found.f_bavail * found.f_frsize) < ROOM:
            yield f"{path} has {free >> 20} MiB free, and {ROOM >> 20} are needed"
        elif found.f_files and found.f_favail < INODES:
            yield f"{path} has room for {found.f_favail} files more, and {INODES} are needed"


def _credentials(configuration: Configuration) -> Iterator[str]:
    for path in configuration.credentials.values():
        try:
            open_file(path.resolve()).close()
        except (OSError, ForeignError) as error:
            yield f"the credential {path} cannot be read: {error}"
