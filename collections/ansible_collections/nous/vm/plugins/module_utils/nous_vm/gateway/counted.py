# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who was denied and how often, minute by minute: a record that nobody can wear out by being denied.

Caddy writes a line for each denied request, into a ring of files that one address can go round within minutes. So each minute what came since is counted by
address, and no more than so many lines are written of it, whatever came. The last line is what the next minute begins with: nothing else is remembered.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from .. import events
from ..atomic import own_directory
from ..errors import ForeignError
from ..foreign import open_file, parse_json
from . import configuration, denials
from .denials import OTHERS, Denial, Denials

FOLDER = events.FOLDER
NAME = "denied.jsonl"
ADDRESSES = 50  # lines that a minute has at most; the others are one more
SIZE = 16 << 20  # bytes of one file
FILES = 4
LINE = 1 << 14  # bytes of one line
SETTLE = 2.0  # seconds in which Caddy has written a line
DAY = 86400

Found = dict[str, tuple[int, Denial]]


def count() -> int:
    """Write down who was denied since the last time; return how many lines that took. Raises OSError, NousVmError."""
    folder = own_directory(FOLDER, 0o750)
    try:
        _forget(folder)
        until = time.time() - SETTLE
        found = denials.denied_since(_until(), until).addresses
        lines = [_written(until, address, *each) for address, each in _busiest(found).items()]
        if lines:
            descriptor = os.open(NAME, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640, dir_fd=folder)
            try:
                end = os.fstat(descriptor).st_size
                cut = end and os.pread(descriptor, 1, end - 1) != b"\n"
                os.write(descriptor, b"".join([b"\n"] * bool(cut) + lines))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        return len(lines)
    finally:
        os.close(folder)


def denied_since(since: float) -> Denials:
    """Return who was denied, by the record, and by Caddy's log for what is not in it yet. since: seconds since the epoch."""
    found: Found = {}
    for until, address, times, last in _lines():
        if until >= since:
            found[address] = (found.get(address, (0,))[0] + times, last)
    newer = denials.denied_since(max(since, _until()))
    for address, (times, last) in newer.addresses.items():
        found[address] = (found.get(address, (0,))[0] + times, last)
    busiest = sorted(found.items(), key=lambda each: -each[1][0])
    return Denials(dict(busiest), newer.unreadable)


def _busiest(found: Found) -> Found:
    """Return the addresses of a minute that have a line each, and all others as one."""
    kept, left = dict(list(found.items())[:ADDRESSES]), list(found.items())[ADDRESSES:]
    if left:
        newest = max((last for _address, (_times, last) in left), key=lambda last: last.when)
        kept[OTHERS] = (kept.get(OTHERS, (0,))[0] + sum(times for _address, (times, _last) in left), newest._replace(address=OTHERS))
    return kept


def _written(until: float, address: str, times: int, last: Denial) -> bytes:
    return json.dumps({"until": until, "address": address, "times": times, "last": list(last)}).encode() + b"\n"


def _paths() -> list[Path]:
    """Return the files of the record, the oldest first."""
    return [FOLDER / f"{NAME}.{number}" for number in range(FILES - 1, 0, -1)] + [FOLDER / NAME]


def _lines() -> Iterator[tuple[float, str, int, Denial]]:
    """Yield what each line has, the oldest first; one that was cut has nothing."""
    for path in _paths():
        with contextlib.suppress(FileNotFoundError), open_file(path, SIZE + ADDRESSES * LINE) as file:
            for line in iter(lambda: file.readline(LINE), b""):
                with contextlib.suppress(ForeignError, LookupError, TypeError, ValueError):
                    known = parse_json(line, NAME)
                    yield float(known["until"]), str(known["address"]), int(known["times"]), Denial(*known["last"])


def _until() -> float:
    """Return up to when the record has what Caddy logged, in seconds since the epoch."""
    for path in reversed(_paths()):
        with contextlib.suppress(FileNotFoundError), open_file(path, SIZE + ADDRESSES * LINE) as file:
            file.seek(-min(os.fstat(file.fileno()).st_size, 2 * LINE), os.SEEK_END)
            for line in reversed(file.read().splitlines()):
                with contextlib.suppress(ForeignError, LookupError, TypeError, ValueError):
                    return float(parse_json(line, NAME)["until"])
    return 0.0


def _forget(folder: int) -> None:
    """Begin another file if this one is full, and remove what is older than the log of denied requests may be."""
    oldest = time.time() - configuration.parameters().denied_days * DAY
    newest_first = [path.name for path in reversed(_paths())]
    with contextlib.suppress(FileNotFoundError):
        if os.stat(NAME, dir_fd=folder, follow_symlinks=False).st_size > SIZE:
            for name, older in reversed(list(itertools.pairwise(newest_first))):
                with contextlib.suppress(FileNotFoundError):
                    os.rename(name, older, src_dir_fd=folder, dst_dir_fd=folder)
    for name in newest_first:
        with contextlib.suppress(FileNotFoundError):
            if os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime < oldest:
                os.unlink(name, dir_fd=folder)
