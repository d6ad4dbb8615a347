# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration of a rotation: /etc/nous-vm/audit/NAME.json."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import NousVmError, UsageError
from ..foreign import printable, read_json
from ..names import CONFIGURATION

FOLDER = CONFIGURATION / "audit"


@dataclass(frozen=True)
class Configuration:
    """A rotation: the logs in a directory, their owner and mode, and the units that write to them.

    files: names of the logs that are rotated. anchors: names of those that are append-only and never rotated. mode: permission bits of the logs.
    keep: archives of each log. reserve: bytes behind a log's end for which room is kept; 0 without the guard. guard: enforce, warn or off.
    """

    name: str
    directory: Path
    files: tuple[str, ...]
    anchors: tuple[str, ...]
    units: tuple[str, ...]
    owner: str
    group: str
    mode: int
    uid: int
    gid: int
    keep: int
    compress: bool
    guard: str
    reserve: int

    @property
    def segments(self) -> Path:
        """Where lies what is not an archive yet, or no more; on the file system of the logs, where no verifier looks."""
        return self.directory / ".segment"

    @property
    def permissions(self) -> str:
        """Mode, owner and group of the logs, as the health check prints them."""
        return f"{self.mode:04o} {self.owner}:{self.group}"


def load(path: Path) -> Configuration:
    """Return the configuration in a file. Raises UsageError if it cannot be used."""
    try:
        given = read_json(path)
        return Configuration(
            name=str(given["name"]),
            directory=Path(given["directory"]),
            files=tuple(given["files"]),
            anchors=tuple(given.get("anchors", ())),
            units=tuple(given["units"]),
            owner=str(given["owner"]),
            group=str(given["group"]),
            mode=int(given["mode"], 8),
            uid=pwd.getpwnam(given["owner"]).pw_uid,
            gid=grp.getgrnam(given["group"]).gr_gid,
            keep=int(given["keep"]),
            compress=bool(given["compress"]),
            guard=str(given["guard"]),
            reserve=int(given["reserve"]) if given["guard"] != "off" else 0,
        )
    except (NousVmError, OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} cannot be used: {type(error).__name__}: {printable(str(error))}") from error


def paths() -> list[Path]:
    """Return the configurations of all rotations of this host."""
    return sorted(FOLDER.glob("*.json"))


def named(name: str) -> Configuration:
    """Return the configuration of a rotation by its name. Raises UsageError with the names that there are."""
    for path in paths():
        if path.stem == name:
            return load(path)
    raise UsageError(f"there is no rotation {name!r} on this host; there are: {', '.join(path.stem for path in paths()) or 'none'}")


def everything() -> Iterator[Configuration]:
    """Yield the configurations of all rotations of this host."""
    yield from map(load, paths())
