# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One clone and one release of it for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from building import build
from clone import clone


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone(tmp_path_factory.mktemp("tree") / "nous.vm")


@pytest.fixture(scope="session")
def plain(tree: Path) -> Path:
    """A release as anybody builds it, in the checkout's dist."""
    done = build(tree, tree / "dist")
    assert done.returncode == 0, done.stderr
    return tree / "dist"
