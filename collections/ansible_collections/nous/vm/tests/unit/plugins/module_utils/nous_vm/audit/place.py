# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory with a log and its rotation, on this machine's disk, without units."""

from __future__ import annotations

import json
import os
from pathlib import Path
from unittest import mock

from ansible_collections.nous.vm.plugins.module_utils.nous_vm import cli, inodes
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.steps import Steps

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
        self.segment = directory / ".segment/log"
        self.journal = directory / ".segment/log.journal"
        given = {"name": "x", "directory": str(directory), "units": [], "owner": "root", "group": "root", "mode": "0600", "files": ["log"], "anchors": []}
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
        """Return what is in the segment and in the log."""
        return (self.segment.read_bytes() if self.segment.exists() else b"") + self.log.read_bytes()

    def killed(self, command: str, at: int) -> bool:
        """Run a command in a process that is gone right after its step number AT; tell whether it came that far."""
        pid = os.fork()
        if pid == 0:
            add = Steps.add

            def killed_after(steps: Steps, name: str, message: str) -> None:
                add(steps, name, message)
                if len(steps.made) - 1 == at:
                    os._exit(99)  # as SIGKILL: no finally is run

            mock.patch.object(Steps, "add", killed_after).start()  # in this process alone
            os._exit(self.run(command))
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 99

    def killed_with_journal(self) -> None:
        """Rotate up to where a journal is on the disk, and the log is as it was."""
        assert any(self.killed("rotate", at) and self.journal.exists() for at in range(100))

    def assert_complete(self, content: bytes, inode: int) -> None:
        """Nothing is lost or doubled, the log is the same file and append-only, and nothing is left over."""
        assert self.content() == content
        assert self.log.stat().st_ino == inode
        assert inodes.flags(self.log) & inodes.APPEND_ONLY
        assert [path.name for path in self.segment.parent.iterdir() if path.name != "log"] == []

    def again(self) -> None:
        """Have the log ready to be made anew."""
        inodes.change(self.log, off=inodes.APPEND_ONLY)
        self.segment.unlink(missing_ok=True)
