# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""$NOUS_HOME/state.db: a row a tick, and a row for each tool call that was begun."""

import sqlite3
from pathlib import Path
from typing import Any

SCHEMA = """
    CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY, ts TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS executed
        (id INTEGER PRIMARY KEY, ts TEXT NOT NULL, tool TEXT NOT NULL, call_id TEXT NOT NULL);
"""


class State:
    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.db = sqlite3.connect(home / "state.db", isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=NORMAL")
        self.db.executescript(SCHEMA)

    def tick(self, ts: str) -> None:
        self.db.execute("INSERT INTO state (ts) VALUES (?)", (ts,))

    def begin(self, ts: str, tool: str, call_id: str) -> None:
        """Before the call does anything: one that was cut off and sent again must be seen as two."""
        self.db.execute("INSERT INTO executed (ts, tool, call_id) VALUES (?, ?, ?)", (ts, tool, call_id))

    def checkpoint(self) -> None:
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def report(self) -> dict[str, Any]:
        (rows,) = self.db.execute("SELECT count(*) FROM state").fetchone()
        (executed,) = self.db.execute("SELECT count(*) FROM executed").fetchone()
        twice = self.db.execute("SELECT call_id FROM executed WHERE call_id != '' GROUP BY call_id HAVING count(*) > 1")
        return {"rows": rows, "executed": executed, "executed_twice": [call_id for (call_id,) in twice]}
