# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a file system tells of itself through a file that is open on it: that it is read-only, was shut down, or has an error."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import IO

from ..errors import ForeignError
from ..foreign import ANY, open_file

ERRORS = Path("/sys/fs/ext4")
DEVICES = Path("/sys/dev/block")


class FileSystem:
    """The file system of an open file. Looked at twenty times a second: a look is three calls of the kernel."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        device = os.fstat(descriptor).st_dev
        self.counter: IO[bytes] | None = None
        with contextlib.suppress(OSError, ForeignError):  # only ext4 counts them
            name = os.path.basename(os.readlink(DEVICES / f"{os.major(device)}:{os.minor(device)}"))
            self.counter = open_file(ERRORS / name / "errors_count", ANY)
        self.before = self._errors()

    def faults(self, name: str) -> dict[str, str]:
        """Return what is wrong, by its kind. Raises OSError where nothing can be read: of xfs, say, after an error."""
        found = {}
        if os.fstatvfs(self.descriptor).f_flag & os.ST_RDONLY:
            found["read-only"] = f"the file system of {name} is read-only"
        if self._errors() != self.before:
            found["error"] = f"the file system of {name} has an error"
        os.pread(self.descriptor, 1, 0)
        return found

    def _errors(self) -> int:
        """Return how many errors ext4 has counted, those before a start too."""
        return int(os.pread(self.counter.fileno(), 32, 0)) if self.counter else 0
