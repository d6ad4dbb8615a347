# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Walks of the server through its archives: while it is on one, no name may change, or it sees what is not there and calls the log tampered.

A walk lists the folder, opens one archive after the other, the log last, and holds one of them open nearly all the time. Between two of them it holds none: so
it is not enough to look who has one open. The folder is watched, and a walk is over when the log was closed by who did not write to it, or a second after
nothing more was opened.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..cgroups import pids
from .syscalls import CLOSED_UNWRITTEN, seen, watch

QUIET = 1.0  # seconds after which a walk that opened nothing more is over
POLL = 0.01


class Walks:
    """The walks through one folder. logs: the names of the logs in it."""

    def __init__(self, folder: Path, logs: Iterable[str]) -> None:
        self.folder = folder
        self.logs = set(logs)
        self.archive = re.compile(rf"({'|'.join(map(re.escape, sorted(self.logs)))})\.[0-9]+(\.gz)?")
        self.descriptor = watch(folder)
        self.last = 0.0  # when something was opened or closed that is not the end of a walk

    def under_way(self) -> bool:
        """Tell whether somebody is between two files of a walk."""
        for mask, name in seen(self.descriptor):
            if name in self.logs:
                self.last = 0.0 if mask & CLOSED_UNWRITTEN else self.last
            elif not name or self.archive.fullmatch(name):  # the folder, or an archive
                self.last = time.monotonic()
        return time.monotonic() - self.last < QUIET

    def holders(self, cgroups: Iterable[str]) -> list[str]:
        """Return the archives that processes of these cgroups have open."""
        found: set[str] = set()
        for pid in pids(cgroups):
            with contextlib.suppress(OSError):
                for number in os.listdir(f"/proc/{pid}/fd"):
                    with contextlib.suppress(OSError):
                        path = Path(os.readlink(f"/proc/{pid}/fd/{number}"))
                        if path.parent == self.folder and self.archive.fullmatch(path.name):
                            found.add(path.name)
        return sorted(found)

    def wait(self, seconds: float) -> bool:
        """Wait until no walk is under way; tell whether it came to that."""
        deadline = time.monotonic() + seconds
        while self.under_way():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL)
        return True


@contextlib.contextmanager
def watched(folder: Path, logs: Iterable[str]) -> Iterator[Walks]:
    """Watch a folder meanwhile."""
    walks = Walks(folder, logs)
    try:
        yield walks
    finally:
        os.close(walks.descriptor)
