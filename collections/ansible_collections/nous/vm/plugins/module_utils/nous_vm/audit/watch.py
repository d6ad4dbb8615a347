# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watching a log under an account that can do nothing but read it, by a descriptor that systemd opened for it.

What is wrong goes to the guard at once, and all that is known when the guard asks for it: a JSON object with the faults, sentences by their kind, how many
records came, and when all was well last. Flag and file look wrong for a moment in each rotation; the guard knows of those.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import stat
import time
from collections.abc import Sequence
from pathlib import Path

from .. import inodes
from ..atomic import read_json, write_json
from ..errors import NousVmError
from ..foreign import printable
from .filesystem import FileSystem
from .links import Links, own_hash
from .records import complete, last_record

POLL = 0.05  # seconds between two looks: no event tells that a file system became read-only, and 0.1 s after that nothing is to be answered any more
TORN = 1.0  # seconds for an incomplete record to be complete
BLOCK = 1 << 20
LARGEST = 8 << 20  # bytes of a record
REPORT, ACCEPT = b"report", b"accept"  # what the guard asks for


class Watched:
    """One log. expected: permission bits, owner and group. memory: where its end is kept, for the next start within this boot."""

    def __init__(self, descriptor: int, name: str, expected: tuple[int, int, int], memory: Path) -> None:
        self.descriptor, self.name, self.expected, self.memory = descriptor, name, expected, memory
        self.broken: dict[str, str] = {}  # what does not pass by itself
        self.since = 0.0  # when an incomplete record was seen first
        self.records = 0  # that came since this program was started
        self.kept: dict[str, object] = {}
        self.system = FileSystem(descriptor)
        kept = read_json(memory)
        found = os.fstat(descriptor)
        self.offset = complete(descriptor, found.st_size)
        self.chain = Links(self._last(found.st_size))
        if kept.get("inode") == found.st_ino:
            self.offset, self.chain.head = int(kept["offset"]), str(kept["head"])

    def _last(self, size: int) -> bytes:
        """Return the log's last complete record; nothing if it is too large to be looked for."""
        try:
            start = last_record(self.descriptor, size)
        except NousVmError:
            return b""
        return os.pread(self.descriptor, self.offset - start, start)

    def look(self) -> dict[str, str]:
        """Return what is wrong, by its kind; nothing if all is well."""
        try:
            found = os.fstat(self.descriptor)
            faults = self._state(found) | self._records(found.st_size)
        except OSError as error:
            faults = {"error": f"{self.name} cannot be read: {error.strerror}"}
        return faults | self.broken

    def accept(self) -> None:
        """Go on from the log's first record: the guard found that it links to the newest archive."""
        if self.broken.pop("cut", ""):
            self.chain, self.offset = Links(), 0

    def keep(self) -> None:
        """Keep where the log ends, unless that is not known or as it was."""
        where = {"inode": os.fstat(self.descriptor).st_ino, "offset": self.offset, "head": self.chain.head}
        if not self.broken and where != self.kept:
            write_json(self.memory, where)
            self.kept = where

    def _state(self, found: os.stat_result) -> dict[str, str]:
        faults = {}
        if (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) != self.expected:
            mode, uid, gid = self.expected
            faults["owner"] = f"{self.name} is {stat.S_IMODE(found.st_mode):04o} {found.st_uid}:{found.st_gid} instead of {mode:04o} {uid}:{gid}"
        if found.st_nlink != 1:
            faults["file"] = f"{self.name} has {found.st_nlink} names instead of one"
        if not inodes.flags(self.descriptor) & inodes.APPEND_ONLY:
            faults["flag"] = f"{self.name} is not append-only"
        return faults | self.system.faults(self.name)

    def _records(self, size: int) -> dict[str, str]:
        """Follow what was appended."""
        if self.broken:
            return {}
        if size < self.offset and not self._cut(size):
            return {}
        while self.offset < size:
            block = os.pread(self.descriptor, min(BLOCK, size - self.offset), self.offset)
            if b"\n" not in block:
                block = os.pread(self.descriptor, min(LARGEST, size - self.offset), self.offset)
            whole = block.rfind(b"\n") + 1
            for line in block[:whole].splitlines():
                if fault := self.chain.fault(line):
                    self.broken["links"] = f"{self.name}: {fault}"
                    return {}
                self.records += 1
            self.offset += whole
            if not whole:
                return self._incomplete(len(block))
        self.since = 0.0
        return {}

    def _cut(self, size: int) -> bool:
        """Go on at the start of a log that was cut, which has the last record of before; return whether it has."""
        end = os.pread(self.descriptor, min(size, LARGEST), 0).find(b"\n") + 1
        first = os.pread(self.descriptor, end, 0)
        if own_hash(first) == self.chain.head:
            self.offset = end
            return True
        self.broken["cut"] = f"{self.name} was cut, and its first record is not the last that was seen"
        return False

    def _incomplete(self, length: int) -> dict[str, str]:
        """Return the fault of an incomplete record, once it is too large or has been there too long."""
        self.since = self.since or time.monotonic()
        if length >= LARGEST or time.monotonic() - self.since > TORN:
            return {"torn": f"{self.name} ends with an incomplete record of {length} bytes"}
        return {}


class Reporter:
    """Tells the guard, at the other end of a socket, what is wrong."""

    def __init__(self, logs: Sequence[Watched], path: Path) -> None:
        self.logs = logs
        path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.listener.setblocking(False)
        self.guard: socket.socket | None = None
        self.told: dict[str, str] | None = None  # nothing, for a guard that is to be told all
        self.well = 0.0  # when all was well last

    def turn(self) -> None:
        """Wait until the guard asks or it is time for a look, look once, and tell."""
        select.select([self.guard or self.listener], [], [], POLL)
        with contextlib.suppress(BlockingIOError):
            guard, _address = self.listener.accept()  # a new one is the only one
            self._leave()
            guard.setblocking(False)
            self.guard = guard
        begun = time.monotonic()
        faults: dict[str, str] = {}
        for log in self.logs:
            faults |= log.look()
        self.well = self.well if faults else begun
        if self.guard:
            try:
                self._tell(self.guard, faults)
            except OSError:
                self._leave()

    def _tell(self, guard: socket.socket, faults: dict[str, str]) -> None:
        """Do what the guard asks for, and tell it what it does not know."""
        asked = b""
        with contextlib.suppress(BlockingIOError):
            asked = guard.recv(16)
            if not asked:
                raise ConnectionResetError("the guard is gone")
        if asked == ACCEPT:
            for log in self.logs:
                log.accept()
        if asked == REPORT or faults != self.told:
            sentences = {kind: printable(text, 200) for kind, text in faults.items()}
            guard.send(json.dumps({"faults": sentences, "records": sum(log.records for log in self.logs), "well": self.well}).encode())
            self.told = faults
            for log in self.logs:
                log.keep()

    def _leave(self) -> None:
        if self.guard:
            self.guard.close()
        self.guard = self.told = None


def opened() -> list[tuple[int, str]]:
    """Return the descriptors that systemd passed, with their names: sd_listen_fds(3)."""
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    return [(3 + number, name) for number, name in zip(range(int(os.environ.get("LISTEN_FDS", "0"))), names, strict=False)]
