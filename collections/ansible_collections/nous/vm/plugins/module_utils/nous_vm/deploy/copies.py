# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of the database, out and in, made as the server's account: root opens no file in a folder of its, and what lies there could lead root elsewhere.

This runs in a unit of its own (backups.py), as: copy("out" or "in", the database).
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import IO

from ..atomic import sync_directory

BUSY = 5  # seconds to wait for a lock of the database


def copy(way: str, database: str) -> None:
    """Write a copy of a database to standard output, or put the one on standard input in its place."""
    if way == "out":
        copy_out(Path(database), sys.stdout.buffer)
    else:
        copy_in(Path(database), sys.stdin.buffer)


def copy_out(database: Path, target: IO[bytes]) -> None:
    """Write a consistent copy of a database, whose server may run. Exits with a message if it is damaged."""
    for left in database.parent.glob(".backup-*"):
        shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=database.parent) as folder:
        aside = Path(folder, "copy")
        source, made = sqlite3.connect(database, timeout=BUSY), sqlite3.connect(aside)
        source.backup(made)
        (sound,) = made.execute("PRAGMA quick_check").fetchone()
        source.close()
        made.close()
        if sound != "ok":
            raise SystemExit(f"{database} is damaged: {sound}")
        with aside.open("rb") as file:
            shutil.copyfileobj(file, target)
        target.flush()


def copy_in(database: Path, source: IO[bytes]) -> None:
    """Put a database in the place of another, which no process has open."""
    aside = database.with_name(f".{database.name}.new")
    aside.unlink(missing_ok=True)
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
        shutil.copyfileobj(source, file)
        file.flush()
        if database.exists():
            os.fchmod(file.fileno(), database.stat().st_mode & 0o777)
        os.fsync(file.fileno())
    for suffix in ("-wal", "-shm", "-journal"):  # of the other one, and poison to this
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    aside.replace(database)
    sync_directory(database.parent)
