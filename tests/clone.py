# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A repository with one commit of what git would take from this checkout, so that a test speaks of the tree as it is."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from controller import REPOSITORY


def run(*argv: str | Path, cwd: Path, **environment: str) -> str:
    """Return what a program prints; fail with all that it printed."""
    done = subprocess.run(argv, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def clone(target: Path) -> Path:
    """Make it in a folder; return that. The commit has a tag, v1.0.0, and the same time wherever it is made."""
    target.mkdir(exist_ok=True)
    names = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=REPOSITORY)
    for name in filter(None, names.split("\0")):
        if os.path.lexists(REPOSITORY / name):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target / name, follow_symlinks=False)
    run("git", "init", "--quiet", cwd=target)
    run("git", "add", "--all", cwd=target)
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    when = {"GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z", "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z"}
    run("git", *identity, "commit", "--quiet", "--message=tree", cwd=target, **when)
    run("git", "tag", "v1.0.0", cwd=target)
    return target
