# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether somebody holds a file open for writing; flags are tested where they are used."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import inodes


def test_whether_somebody_holds_it_open_for_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.touch()
    with open(path, "rb"):
        assert not inodes.written(path)
    with open(path, "ab"):
        assert inodes.written(path)

    def denied(*_arguments: int) -> None:
        raise PermissionError

    monkeypatch.setattr(fcntl, "fcntl", denied)
    assert inodes.written(path), "it cannot be told, of another's file say"
