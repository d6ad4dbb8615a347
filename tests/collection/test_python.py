# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No Python of this repository escapes the linters: what has no ending is found by its first line."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import typecheck
from controller import REPOSITORY


def test_ruff_reads_every_file() -> None:
    shown = subprocess.run([sys.executable, "-m", "ruff", "check", "--show-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    read = {line.removeprefix(f"{REPOSITORY}/") for line in shown.splitlines()}
    assert set(typecheck.python_files()) - read == set()


def test_mypy_reads_every_file_once() -> None:
    read = Counter(name for files, _paths in typecheck.groups() for name in files)
    assert read == Counter(typecheck.python_files())


def test_files_without_an_ending_are_found() -> None:
    assert {"tests/run", "tests/hosts/images.py"} <= set(typecheck.python_files())
