# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the rotation share: real flags on this machine's disk, as root."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import events, locks, processes
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit import freeze
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.audit.place import Place


@pytest.fixture
def trail(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where events go, and nowhere else."""
    folder = tmp_path_factory.mktemp("trail")
    monkeypatch.setattr(events, "FOLDER", folder)
    monkeypatch.setattr(events, "TRAIL", folder / "trail.jsonl")
    monkeypatch.setattr(events, "_append", lambda line: (folder / "trail.jsonl").open("ab").write(line))
    monkeypatch.setattr("syslog.syslog", lambda _line: None)
    yield folder / "trail.jsonl"


def children() -> list[int]:
    """Return this process's children: to look at all processes of this machine takes long, and root may not look into all."""
    return [int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text(encoding="ascii").split()]


@pytest.fixture
def place(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, trail: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A directory with a rotation of the log in it, and no unit."""
    if os.geteuid() != 0:
        pytest.skip("only root may set inode flags")
    monkeypatch.setattr(processes, "pids", children)
    monkeypatch.setattr(freeze, "BUDGET", 60.0)  # how long a step takes here depends on who else is at work
    monkeypatch.setattr(locks, "FOLDER", tmp_path_factory.mktemp("locks"))
    before = signal.getsignal(signal.SIGTERM)
    place = Place(tmp_path)
    yield place
    place.unprotect()
    signal.signal(signal.SIGTERM, before)
