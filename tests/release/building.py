# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a checkout's own dist.py, as `make dist` does, and bring other generations of what it runs on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def install(target: Path, *packages: str) -> None:
    """Bring packages for the Python of a test host's image, which is newer than this machine's may be."""
    command = ["pip", "install", "--quiet", "--target", str(target), "--python", sys.executable, "--python-version", "3.13", "--only-binary", ":all:"]
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, *command, *packages], env=os.environ | {"UV_SYSTEM_CERTS": "1"}, check=True)


def build(tree: Path, to: Path, *arguments: str, umask: int = 0o022, **environment: str) -> subprocess.CompletedProcess[str]:
    """Return how it went."""
    return subprocess.run(
        [sys.executable, tree / "release/dist.py", "--to", to, *arguments],
        cwd=tree,
        env=os.environ | environment,
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
    )
