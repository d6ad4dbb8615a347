# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups of the database: copies below ROOT/backups, each with a note of the release that it belongs to."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import time
from pathlib import Path
from typing import IO, Any

from ..atomic import read_json, sync_directory, write
from ..errors import NousVmError
from ..names import PYTHON, Names
from ..sandbox import NO_SOCKETS, Value, directives
from ..systemd import in_unit
from .configuration import Configuration

REQUESTED = "requested"  # why a backup was made that is never removed
SPARE = 16 << 20  # bytes that a copy of the database leaves free
LONGEST = 840.0  # seconds that it may take to put a copy back: less than nous-recover.service gives all of a recovery
LEAST, SLOWEST = 20.0, 4 << 20  # seconds that the copy of a small database may take, and bytes a second of a large one
MEMORY = "1G"  # of a copy; LimitAS= holds where the kernel limits no control group
PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from nous_vm.deploy.copies import copy; copy(*sys.argv[2:])"
LIBRARY = Path(__file__).parents[2]


class Backups:
    """The folder of the backups, and the database that they are of."""

    def __init__(self, configuration: Configuration, names: Names) -> None:
        self.folder, self.database = configuration.root / "backups", configuration.database
        self.user, self.keep, self.names = configuration.user, configuration.keep, names

    def has_database(self) -> bool:
        """Tell whether there is a file to copy."""
        return self.database is not None and self.database.exists()

    def complete(self) -> dict[str, dict[str, Any]]:
        """Return the backups that are complete, the latest last: release, at (seconds since the epoch), why."""
        found = {path.parent.name: read_json(path) for path in self.folder.glob("[!.]*/backup.json")}
        return dict(sorted(found.items(), key=lambda item: item[1].get("at", 0.0)))

    def lack_of_space(self) -> str | None:
        """Return where there is no room for a copy of the database, made beside it first, and for putting it back."""
        if self.database is None or not self.has_database():
            return None
        # Of copies that were interrupted; what cannot be removed takes room, and that is what is measured next.
        for left in self.folder.glob(".*.partial"):
            shutil.rmtree(left, ignore_errors=True)
        if any(self.database.parent.glob(".backup-*")):
            with contextlib.suppress(NousVmError):
                self._copy("clean", LEAST)
        together = self.folder.stat().st_dev == self.database.parent.stat().st_dev
        need = self._size() * (2 if together else 1) + SPARE
        for place in (self.folder, self.database.parent):
            if (free := shutil.disk_usage(place).free) < need:
                return f"{place} has {free >> 20} MiB free, and a copy of {self.database} needs {need >> 20}"
        return None

    def _size(self) -> int:
        """Return how many bytes the database claims to have, with its log."""
        parts = [self.database, self.database.with_name(self.database.name + "-wal")] if self.database else []
        return sum(part.stat().st_size for part in parts if part.exists())

    def create(self, release: str | None, why: str) -> str:
        """Copy the database and return the name of the backup. Raises OSError, NousVmError."""
        now = time.time()
        name = self._free_name(f"{release}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}")
        for left in self.folder.glob(".*.partial"):
            shutil.rmtree(left)
        folder = self.folder / f".{name}.partial"
        folder.mkdir(mode=0o700)
        try:
            self.export(folder / "database")
        except BaseException:
            shutil.rmtree(folder)
            raise
        write(folder / "backup.json", json.dumps({"release": release, "at": now, "why": why}).encode())
        folder.rename(self.folder / name)
        sync_directory(self.folder)
        return name

    def export(self, path: Path) -> None:
        """Copy the database to a new file. Raises OSError, NousVmError."""
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            self._copy("out", LEAST + self._size() / SLOWEST, stdout=file)
            os.fsync(file.fileno())

    def _free_name(self, name: str) -> str:
        """Return a name that no backup has, though another was made in the same second."""
        names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        return next(each for each in names if not (self.folder / each).exists())

    def put_back(self, name: str) -> None:
        """Put a backup in the place of the database, which no process has open. Raises OSError, NousVmError."""
        with (self.folder / name / "database").open("rb") as file:
            self._copy("in", LONGEST, stdin=file)

    def _copy(self, way: str, longest: float, **streams: IO[bytes]) -> None:
        """Let the server's account copy its database, so many seconds at most."""
        if self.database is None:
            raise NousVmError("there is no database file to copy")
        limits: dict[str, Value] = {"MemoryMax": MEMORY, "LimitAS": MEMORY, "TasksMax": 32}
        sandbox = directives({"ProtectHome": "tmpfs", "RestrictAddressFamilies": NO_SOCKETS} | limits)
        how = [f"Slice={self.names.slice}", f"User={self.user}", f"BindPaths={self.database.parent}", *sandbox]
        argv: list[str | Path] = [PYTHON, "-I", "-c", PROGRAM, LIBRARY, way, self.database]
        began = time.monotonic()
        done = in_unit(self.names.copy, how, argv, timeout=longest, **streams)
        if done.returncode:
            late = time.monotonic() - began > longest
            raise NousVmError(f"{self.database} cannot be copied: {f'it took longer than {longest:.0f} s' if late else done.complaint}")

    def prune(self) -> None:
        """Remove the backups that are too many; one that somebody requested stays."""
        old = [name for name, about in self.complete().items() if about.get("why") != REQUESTED][: -self.keep]
        for name in old:
            shutil.rmtree((self.folder / name).rename(self.folder / f".{name}.partial"))
