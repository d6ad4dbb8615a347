# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a checkout's own dist.py, as `make dist` does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


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
