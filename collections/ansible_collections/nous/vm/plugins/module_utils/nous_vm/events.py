# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notable events: each goes to the journal and to an append-only trail, in one record: what, when, which user from where, result."""

from __future__ import annotations

import contextlib
import json
import os
import syslog
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import inodes
from .atomic import own_directory
from .errors import ForeignError, NousVmError
from .foreign import LINE, parse_json, printable
from .locks import whoever

FOLDER = Path("/var/log/nous-vm")
TRAIL = FOLDER / "trail.jsonl"
IDENTIFIER = "nous-vm"
RECORD = 4000  # bytes of one record
READ = 64 << 20  # bytes of the trail that are read back at most, from its end


def record(event: str, result: str = "done", **about: str | float | None) -> dict[str, Any]:
    """Record an event and return the record; that it cannot be written must not end what it is about.

    event: deployed, rolled back, rotated, paused, ... result: done, failed, or why. about: further fields, strings or numbers.
    """
    origin = os.environ.get("SSH_CONNECTION", "").split(" ")[0] or "local"
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    fields = {key: printable(value) if isinstance(value, str) else value for key, value in about.items() if value is not None}
    entry = {"time": now, "event": event, "result": printable(result), "user": printable(whoever()), "from": printable(origin)}
    line = json.dumps(entry | fields)
    if len(line) > RECORD:  # rather without its details than not to be read
        fields = {"omitted": ", ".join(fields)[:LINE]}
        line = json.dumps(entry | fields)
    syslog.openlog(IDENTIFIER)
    syslog.syslog(line)
    with contextlib.suppress(OSError, NousVmError):
        _append(f"{line}\n".encode())
    return entry | fields


def _append(line: bytes) -> None:
    folder = own_directory(FOLDER, 0o750)
    try:
        descriptor = os.open(TRAIL.name, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        with contextlib.suppress(OSError):  # a file system without flags, a unit without the right: the line counts
            inodes.change(descriptor, on=inodes.APPEND_ONLY)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":  # a full disk cut the one before
            line = b"\n" + line
        os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def history(count: int = 20) -> list[dict[str, Any]]:
    """Return the last events, at most COUNT, the latest last."""
    return list(deque(_entries(min(count * (RECORD + 2), READ)), maxlen=count))


def _entries(most: int) -> Iterator[dict[str, Any]]:
    """Yield the events in the last MOST bytes of the trail."""
    with contextlib.suppress(FileNotFoundError), TRAIL.open("rb") as trail:
        trail.seek(max(os.fstat(trail.fileno()).st_size - most, 0))
        for line in trail:
            with contextlib.suppress(ForeignError):  # one that was cut short, or begins before what is read
                yield parse_json(line, "the trail")
