# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cgroups: what the kernel says of them, and what is there of a unit that is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import cgroups
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.cgroups import Events, Running


@pytest.fixture(autouse=True)
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, populated, frozen in (("a", 1, 1), ("b", 1, 0), ("empty", 0, 0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cgroup.events").write_text(f"populated {populated}\nfrozen {frozen}\n", encoding="ascii")
    monkeypatch.setattr(cgroups, "ROOT", tmp_path)
    shown = {
        "a.service": {"ActiveState": "active", "ControlGroup": "/a"},
        "b.service": {"ActiveState": "deactivating", "ControlGroup": "/b"},
        "empty.service": {"ActiveState": "active", "ControlGroup": "/empty"},
        "none.service": {"ActiveState": "inactive", "ControlGroup": ""},
        "gone.service": {"ActiveState": "active", "ControlGroup": "/gone"},
        "odd.service": {},
    }
    monkeypatch.setattr(cgroups, "show_all", lambda units, *_properties: {unit: shown[unit] for unit in units})


UNITS = ["a.service", "b.service", "empty.service", "none.service", "gone.service", "odd.service"]


def test_events() -> None:
    assert cgroups.events("/a") == Events(populated=True, frozen=True)
    assert cgroups.events("/b") == Events(populated=True)
    assert cgroups.events("/gone") == Events()


def test_units_with_processes() -> None:
    assert cgroups.running(UNITS) == {"a.service": Running("/a", "active"), "b.service": Running("/b", "deactivating")}
    assert cgroups.of_units(UNITS) == {"a.service": "/a", "b.service": "/b"}


def test_frozen() -> None:
    assert cgroups.frozen({"a.service": "/a", "b.service": "/b", "gone.service": "/gone"}) == ["a.service"]


def test_set_frozen(tmp_path: Path) -> None:
    cgroups.set_frozen("/a", True)
    cgroups.set_frozen("/b", False)
    cgroups.set_frozen("/gone", True)
    assert [(tmp_path / name / "cgroup.freeze").read_text(encoding="ascii") for name in "ab"] == ["1", "0"]
    assert not (tmp_path / "gone").exists()


def test_pids(tmp_path: Path) -> None:
    (tmp_path / "a/below").mkdir()
    for place, processes in (("a", "1\n2\n"), ("a/below", "3\n"), ("b", "4\n")):
        (tmp_path / place / "cgroup.procs").write_text(processes, encoding="ascii")
    (tmp_path / "empty/cgroup.procs").mkdir()
    assert cgroups.pids(["/a", "/empty", "/gone"]) == {1, 2, 3}
