# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit log: one JSON object a line, each line bound to the one before by SHA-256.

As weak as the real one: what cannot be written is swallowed, the call is answered, and nothing is degraded for it. The head of the chain lives in memory; it is
read from the file's last line at the start and by a resync.
"""

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
    """The last line of a file that is not blank, or {} when there is none or it is torn."""
    try:
        with path.open("rb") as file:
            record: dict[str, Any] = json.loads(deque(filter(bytes.strip, file), maxlen=1).pop())
    except (OSError, ValueError, IndexError):
        return {}
    return record


class DurableHandler(WatchedFileHandler):
    """One write(2) and one fsync(2) a record. What fails of the write, logging keeps to itself; what fails of the fsync is counted."""

    failures = 0
    last_failure = ""

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        try:
            self.flush()
        except (OSError, ValueError):
            return
        if self.stream is not None:
            try:
                os.fsync(self.stream.fileno())
            except OSError as error:
                self.failures, self.last_failure = self.failures + 1, str(error)


class AuditLog:
    """Appends to PATH; to standard error, `degraded` with a reason, when PATH cannot be opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.degraded = ""
        self.written = 0
        self.fsync_failures = 0
        self.head = GENESIS
        self.handler: logging.Handler = logging.NullHandler()
        self.resync()

    def resync(self) -> None:
        """Open the file anew, and read the head of the chain from its last line; where there is none, the head stays."""
        self.handler.close()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.handler = DurableHandler(self.path, encoding="utf-8")
        except OSError as error:
            self.degraded = str(error)
            self.handler = logging.StreamHandler(sys.stderr)
            return
        self.degraded = ""
        with contextlib.suppress(OSError):
            self.path.chmod(0o600)
        self.head = last_record(self.path).get("entry_hash", self.head)

    def write(self, **fields: Any) -> dict[str, Any]:
        """Append one record and return it as it should have been written."""
        record = {"ts": now(), **fields, "prev_hash": self.head}
        record["entry_hash"] = digest(record)
        self.handler.emit(logging.makeLogRecord({"msg": json.dumps(record, ensure_ascii=False)}))
        self.head = record["entry_hash"]
        if isinstance(self.handler, DurableHandler) and self.handler.failures:
            self.fsync_failures += self.handler.failures
            self.degraded, self.handler.failures = self.handler.last_failure, 0
        else:
            self.written += 1
        return record

    def summary(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "degraded": bool(self.degraded),
            "degraded_reason": self.degraded,
            "fsync_failures": self.fsync_failures,
            "writes_total": self.written,
            "chain_head": self.head,
        }

    def sync(self) -> None:
        if isinstance(self.handler, DurableHandler) and self.handler.stream is not None:
            os.fsync(self.handler.stream.fileno())
