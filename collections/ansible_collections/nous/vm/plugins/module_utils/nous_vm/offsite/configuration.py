# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What /etc/nous-vm/offsite.json says of the backups off this host, and what came of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from ..atomic import own_directory, read_json, write_json
from ..errors import UsageError
from ..names import CONFIGURATION, STATE

PATH = CONFIGURATION / "offsite.json"
FOLDER = STATE / "offsite"  # root's alone: what is staged, restored and remembered
STAGED, DRILL, RESTORED = FOLDER / "set", FOLDER / "drill", FOLDER / "restored"
LAST = FOLDER / "last.json"
RECORD = STATE / "restored.json"  # of what this host was made
LOCK = "offsite"
UNIT, TIMER, RESTIC = "nous-backup.service", "nous-backup.timer", "nous-backup-restic.service"


class Configuration(NamedTuple):
    """The backups, as the role configured them.

    repository: as restic names it. local: the folder that it is, empty if it is elsewhere. password, environment: files of root's. options: restic's own, such
    as those of sftp. append: files that only grow, in the order in which they are copied. archives: patterns of files that never change. files: patterns of
    all others. keep: how many of the last of each kind are kept. check_days, drill_days: how old a check of the repository and a drill may be. most: minutes
    that may be lost. jwks: the keys that checkpoints are verified with. score: the most that systemd's score of the unit may be.
    """

    repository: str
    local: str
    password: str
    environment: str
    options: list[str]
    append: list[str]
    archives: list[str]
    files: list[str]
    keep: dict[str, int]
    check_days: int
    drill_days: int
    most: int
    jwks: str
    score: float


def load(path: Path = PATH) -> Configuration:
    """Return the configuration; raise UsageError if it is not there or not complete."""
    try:
        return Configuration(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"{path} cannot be used: {error!r}") from None


def own(folder: Path) -> None:
    """Make a folder of root's, or see that it is one."""
    folder.parent.mkdir(mode=0o755, exist_ok=True)
    os.close(own_directory(folder))


def last() -> dict[str, Any]:
    """Return what came of backups, checks and drills: by backup, check, drill and failure, each with at, in seconds since the epoch."""
    return read_json(LAST)


def remember(what: str, about: dict[str, Any] | None) -> None:
    """Note what came of one of them; None forgets it."""
    own(FOLDER)
    known = last() | {what: about}
    write_json(LAST, {name: each for name, each in known.items() if each is not None})
