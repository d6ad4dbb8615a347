# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit log and its daily anchors: one JSON object a line, each line bound to the one before by SHA-256."""

import contextlib
import hashlib
import json
import logging
import os
import sys
from collections import deque
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

GENESIS = "0" * 64


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def digest(record: dict[str, Any]) -> str:
    """SHA-256 (hex) of a record's canonical JSON: sorted keys, no spaces, UTF-8."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def last_record(path: Path) -> dict[str, Any]:
    """The last line of a file, or {} when there is none or it is torn: then the chain starts again at zeros."""
    try:
        with path.open("rb") as file:
            record: dict[str, Any] = json.loads(deque(file, maxlen=1).pop())
    except (OSError, ValueError, IndexError):
        return {}
    return record


class DurableHandler(WatchedFileHandler):
    """One write(2) and one fsync(2) a record; an error reaches the caller, whose call then fails too."""

    def emit(self, record: logging.LogRecord) -> None:
        self.reopenIfNeeded()
        if self.stream is None:  # closed by uvicorn's logging set-up, as in the real server
            self.stream = self._open()
            self._statstream()
        line = (self.format(record) + "\n").encode()
        if os.write(self.stream.fileno(), line) != len(line):
            raise OSError(f"{self.baseFilename}: a record was written in part")
        os.fsync(self.stream.fileno())


class AuditLog:
    """Appends to PATH; to standard error, `degraded` with a reason, when PATH cannot be opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.degraded = ""
        self.written = 0
        self.head = GENESIS
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.handler: logging.Handler = DurableHandler(path, encoding="utf-8")
        except OSError as error:
            self.degraded = str(error)
            self.handler = logging.StreamHandler(sys.stderr)
            return
        with contextlib.suppress(OSError):
            path.chmod(0o600)
        self.head = last_record(path).get("entry_hash", GENESIS)

    def write(self, **fields: Any) -> dict[str, Any]:
        """Append one record and return it as written."""
        record = {"ts": now(), **fields, "prev_hash": self.head}
        record["entry_hash"] = digest(record)
        line = json.dumps(record, ensure_ascii=False)
        self.handler.emit(logging.makeLogRecord({"msg": line}))
        self.head = record["entry_hash"]
        self.written += 1
        return record

    def sync(self) -> None:
        if isinstance(self.handler, DurableHandler) and self.handler.stream is not None:
            os.fsync(self.handler.stream.fileno())


class Anchors:
    """At most one line a UTC day that pins the audit log's head; a chain of its own, never a reason to fail a call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.degraded = ""
        self.last = last_record(path)

    def pin(self, head: str) -> None:
        day = datetime.now(UTC).date().isoformat()
        if day == self.last.get("day"):
            return
        record = {"day": day, "ts": now(), "head": head, "prev_anchor_hash": self.last.get("anchor_hash", GENESIS)}
        record["anchor_hash"] = digest(record)
        try:
            with self.path.open("ab", buffering=0) as file:
                file.write(json.dumps(record).encode() + b"\n")
                os.fsync(file.fileno())
        except OSError as error:
            self.degraded = str(error)
            return
        self.degraded = ""
        self.last = record
