# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory with a log and its rotation, on this machine's disk, without units."""

from __future__ import annotations

import gzip
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from ansible_collections.nous.vm.plugins.module_utils.nous_vm import cli, inodes

# What Python's audit hooks (PEP 578) see of a command's changes; the writes lie between them.
CALLS = {"os.rename", "os.truncate", "os.remove", "os.chmod", "os.chown", "fcntl.ioctl"}
LINES = b"".join(b'{"number": %d}\n' % number for number in range(5000))
LOGS = {
    "lines": LINES,
    "torn": LINES + b'{"number": 50',
    "long last record": b"a\n" + b"b" * 5000 + b"\n",
    "long torn line": b"a\nb\n" + b"c" * 5000,
    "two records": b"a\nb\n",
    "the same again": b"a\n" * 1000,
}


class Place:
    """The directory of a log, and what is done to it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / "config.json"
        self.log = directory / "log"
        self.archive = directory / "log.1"
        self.aside = directory / ".segment"
        self.journal = self.aside / "log.journal"
        given: dict[str, Any] = {
            "name": "x",
            "directory": str(directory),
            "units": [],
            "owner": "root",
            "group": "root",
            "mode": "0600",
            "files": ["log"],
            "anchors": [],
        }
        given |= {"keep": 3, "compress": True, "guard": "off", "reserve": 0}
        self.config.write_text(json.dumps(given))

    def configure(self, **changes: object) -> None:
        self.config.write_text(json.dumps(json.loads(self.config.read_text()) | changes))

    def write(self, content: bytes) -> int:
        """Make the log anew; return its inode."""
        self.log.write_bytes(content)
        self.log.chmod(0o600)
        inodes.change(self.log, on=inodes.APPEND_ONLY)
        return self.log.stat().st_ino

    def append(self, content: bytes) -> None:
        with open(self.log, "ab") as file:
            file.write(content)

    def unprotect(self) -> None:
        for path in self.directory.iterdir():
            if path.is_file():
                inodes.change(path, off=inodes.APPEND_ONLY | inodes.IMMUTABLE)

    def run(self, command: str, *options: str) -> int:
        """Run nous-vm audit COMMAND; return its exit code."""
        return cli.main(["audit", command, "--config", str(self.config), *options])

    def content(self) -> bytes:
        """Return what is in the archives and in the log, the oldest first."""
        return b"".join(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in reversed(self.archives())) + (
            self.log.read_bytes()
        )

    def archives(self) -> list[Path]:
        """Return the archives, the newest first."""
        return sorted(self.directory.glob("log.[0-9]*"), key=lambda path: int(path.name.split(".")[1]))

    def killed(self, command: str, at: int) -> bool:
        """Run a command in a process that is gone right before its call number AT that changes a file; tell whether it came that far."""
        pid = os.fork()
        if pid == 0:
            made = 0

            def count(event: str, arguments: tuple[Any, ...]) -> None:
                nonlocal made
                if event in CALLS or (event == "open" and str(arguments[0]).startswith(str(self.directory))):
                    made += 1
                    if made > at:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(count)  # in this process alone
            os._exit(self.run(command))
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL

    def killed_within_the_cut(self, was_cut: bool = True) -> None:
        """Rotate up to where the log was cut and nothing else was done, or to right before that."""
        before = self.log.read_bytes()
        for at in range(15, 100):
            assert self.killed("rotate", at)
            if self.log.read_bytes() != before and (self.log.stat().st_size < len(before)) == was_cut:
                return
            assert self.run("recover") == 0

    def assert_complete(self, content: bytes, inode: int) -> None:
        """Nothing is lost or doubled, the log is the same file and append-only, its archives are immutable, and nothing is left over."""
        assert self.content() == content
        assert self.log.stat().st_ino == inode
        assert inodes.flags(self.log) & inodes.APPEND_ONLY
        assert all(inodes.flags(path) & inodes.IMMUTABLE and path.stat().st_mode & 0o777 == 0o440 for path in self.archives())
        assert [path.name for path in self.aside.iterdir()] == []

    def again(self) -> None:
        """Have the log ready to be made anew."""
        inodes.change(self.log, off=inodes.APPEND_ONLY)
        for path in self.archives():
            inodes.change(path, off=inodes.IMMUTABLE)
            path.unlink()
