# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that fetch and build run in their sandboxes, git, uv and the source's own, each within a limit of time."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ..errors import NousVmError
from ..foreign import printable
from ..programs import Completed, run

LONGEST = 3600.0  # seconds that one program may take; its unit ends earlier
# How uv and git tell why, and ssh, after which git knows no more than that it cannot read.
CAUSE = re.compile(r"(error|cause|fatal): |Host key verification|ssh: |\S+: Permission denied ")
LINES = 12  # of what a program prints, that are told at most


class BuildError(NousVmError):
    """There is no release; the text says why."""


class Tools:
    """The programs, with the environment that they get."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment

    def ask(self, *argv: str | Path, stdin: bytes | None = None, cwd: str | Path = "/") -> Completed:
        """Run a program."""
        return run(argv, timeout=LONGEST, limit=16 << 20, env=self.environment, stdin=stdin, cwd=cwd)

    def run(self, *argv: str | Path, stdin: bytes | None = None, cwd: str | Path = "/") -> str:
        """Run a program that has to succeed and return what it printed."""
        done = self.ask(*argv, stdin=stdin, cwd=cwd)
        if done.returncode:
            raise BuildError(causes(done))
        return done.text.strip()


def causes(done: Completed) -> str:
    """Return why a program failed, as it printed it."""
    text = (done.stderr or done.stdout).decode("utf-8", "replace")
    lines = [printable(line) for line in text.splitlines() if line.strip()]
    return "; ".join(([line for line in lines if CAUSE.match(line)] or lines[-1:] or ["no message"])[:LINES])
