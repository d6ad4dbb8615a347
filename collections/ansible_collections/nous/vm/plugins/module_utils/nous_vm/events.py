# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notable events: each goes to the journal and to an append-only trail, in one record: what, when, which user from where, result.

In the trail each names the SHA-256 of the line before it, whatever that line is, so that none can be changed or taken out without the next one showing it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import syslog
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import inodes, times
from .atomic import own_directory
from .errors import ForeignError, NousVmError
from .foreign import LINE, parse_json, printable
from .locks import origin, taken, whoever

FOLDER = Path("/var/log/nous-vm")
TRAIL = FOLDER / "trail.jsonl"
IDENTIFIER = "nous-vm"
RECORD = 4000  # bytes of one record
READ = 64 << 20  # bytes of the trail that are read back at most, from its end
FIRST = "0" * 64  # what the first line names as the one before
PREVIOUS = "previous"
WAIT = 2.0  # seconds for another event to be written; it is written then in any case


def record(event: str, result: str = "done", **about: str | float | None) -> dict[str, Any]:
    """Record an event and return the record; that it cannot be written must not end what it is about.

    event: deployed, rolled back, rotated, paused, ... result: done, failed, or why. about: further fields, strings or numbers.
    """
    now = times.iso()
    fields = {key: printable(value) if isinstance(value, str) else value for key, value in about.items() if value is not None}
    entry = {"time": now, "event": event, "result": printable(result), "user": printable(whoever()), "from": printable(origin())}
    line = json.dumps(entry | fields)
    if len(line) > RECORD - len(_linked(b"{}", FIRST)):  # rather without its details than not to be read
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
        taken(descriptor, WAIT)
        last, complete = _last_line(descriptor)
        line = _linked(line, hashlib.sha256(last).hexdigest() if last else FIRST)
        os.write(descriptor, line if complete else b"\n" + line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _linked(line: bytes, before: str) -> bytes:
    """Return a line that names the one before."""
    return f'{{"{PREVIOUS}": "{before}", '.encode() + line[1:]


def _last_line(descriptor: int) -> tuple[bytes, bool]:
    """Return the last line of the trail, and whether it is complete: a full disk may have cut it."""
    size, read = os.fstat(descriptor).st_size, 2 * RECORD
    while True:
        content = os.pread(descriptor, read, max(size - read, 0))
        before, _end, last = content.removesuffix(b"\n").rpartition(b"\n")
        if before or read >= min(size, READ):
            return last, not content or content.endswith(b"\n")
        read *= 16


def history(count: int = 20) -> list[dict[str, Any]]:
    """Return the last events, at most COUNT, the latest last."""
    return list(deque(_entries(min(count * (RECORD + 2), READ)), maxlen=count))


def _entries(most: int) -> Iterator[dict[str, Any]]:
    """Yield the events in the last MOST bytes of the trail."""
    with contextlib.suppress(FileNotFoundError), TRAIL.open("rb") as trail:
        trail.seek(max(os.fstat(trail.fileno()).st_size - most, 0))
        for line in trail:
            with contextlib.suppress(ForeignError):  # one that was cut short, or begins before what is read
                event = parse_json(line, "the trail")
                event.pop(PREVIOUS, None)
                yield event
