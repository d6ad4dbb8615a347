# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of the database, out and in, made as the server's account: root opens no file in a folder of its, and what lies there could lead root elsewhere.

This runs in a unit of its own (backups.py), which bounds its time and memory, as: copy("out", "in" or "clean", the database). Whoever wrote the database may
have made it so that to look at it takes for ever, and may have left anything in its folder.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

from ..atomic import sync_directory

BUSY = 5.0  # seconds to wait for who has locked the database


def copy(way: str, database: str) -> None:
    """Write a copy of a database to standard output, put the one on standard input in its place, or remove what copies left that were interrupted."""
    path = Path(database)
    if way == "out":
        copy_out(path, sys.stdout.buffer)
    elif way == "in":
        copy_in(path, sys.stdin.buffer)
    else:
        clean(path)


def clean(database: Path) -> None:
    """Remove what copies that were interrupted left beside a database."""
    for left in database.parent.glob(".backup-*"):
        remove(left)


def remove(path: Path) -> None:
    """Remove a file, or a folder with what is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def copy_out(database: Path, target: IO[bytes]) -> None:
    """Write a consistent copy of a database, whose server may run. Exits with a message if it is damaged, or locked for longer than BUSY."""
    clean(database)
    deadline = time.monotonic() + BUSY

    def progress(status: int, _remaining: int, _total: int) -> None:
        # Of a database that is locked, backup() tries again for ever.
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() > deadline:
            raise SystemExit(f"{database} was locked for {BUSY:g} s")

    with tempfile.TemporaryDirectory(prefix=".backup-", dir=database.parent) as folder:
        aside = Path(folder, "copy")
        source, made = sqlite3.connect(database, timeout=0), sqlite3.connect(aside)
        try:
            source.backup(made, progress=progress)
            (sound,) = made.execute("PRAGMA quick_check").fetchone()
        finally:
            source.close()
            made.close()
        if sound != "ok":
            raise SystemExit(f"{database} is damaged: {sound}")
        with aside.open("rb") as file:
            shutil.copyfileobj(file, target)
        target.flush()


def copy_in(database: Path, source: IO[bytes]) -> None:
    """Put a database in the place of another, which no process has open. What the server of the other left there is not in the way, whatever it is."""
    folder = database.parent
    folder.chmod(folder.stat().st_mode | 0o700)
    aside = database.with_name(f".{database.name}.new")
    remove(aside)
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        shutil.copyfileobj(source, file)
        file.flush()
        if database.is_file() and not database.is_symlink():
            os.fchmod(file.fileno(), database.stat().st_mode & 0o777)
        os.fsync(file.fileno())
    for suffix in ("-wal", "-shm", "-journal"):  # of the other one, and poison to this
        remove(database.with_name(database.name + suffix))
    if database.is_dir():
        remove(database)
    aside.replace(database)
    sync_directory(folder)
