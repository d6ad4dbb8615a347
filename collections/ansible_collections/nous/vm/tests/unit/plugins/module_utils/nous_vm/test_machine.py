# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which machine this is, and what it is called where others read it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import machine
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.machine import Machine


@pytest.mark.parametrize(
    ("content", "known"),
    [
        (b"30d0e4d4c7ed476c90a1bd2b8f6ee2f8\n", "30d0e4d4c7ed476c90a1bd2b8f6ee2f8"),
        (b"4C4C4544-0042-3510-8052-B4C04F4E5931\n", "4c4c4544004235108052b4c04f4e5931"),
        (b"uninitialized\n", ""),
        (b"", ""),
        (b"00000000-0000-0000-0000-000000000000\n", ""),
        (b"FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF\n", ""),
        (b"Not Settable\n", ""),
        (b"\xff" * 32, ""),
    ],
)
def test_what_is_an_identity(content: bytes, known: str) -> None:
    assert machine.parsed(content) == known


def test_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A container has the hardware of another machine, which says nothing about it."""
    (tmp_path / "id").write_text("30d0e4d4c7ed476c90a1bd2b8f6ee2f8\n")
    (tmp_path / "link").symlink_to("id")
    (tmp_path / "uuid").write_text("4C4C4544-0042-3510-8052-B4C04F4E5931\n")
    monkeypatch.setattr(machine, "MACHINE_ID", tmp_path / "link")
    monkeypatch.setattr(machine, "PRODUCT_UUID", tmp_path / "uuid")
    monkeypatch.setattr(machine, "CONTAINERS", (tmp_path / "absent", tmp_path / "container"))
    assert machine.machine() == ("30d0e4d4c7ed476c90a1bd2b8f6ee2f8", "4c4c4544004235108052b4c04f4e5931")
    (tmp_path / "container").touch()
    assert machine.machine() == ("30d0e4d4c7ed476c90a1bd2b8f6ee2f8", "")
    monkeypatch.setattr(machine, "MACHINE_ID", tmp_path / "absent")
    assert machine.machine() == ("", "")


def test_names_for_others() -> None:
    """As systemd-id128 machine-id --app-specific=6f3c2a51b0d64d0f9c0e3a7d1e58c4b2 prints it; it does not lead back."""
    assert Machine("30d0e4d4c7ed476c90a1bd2b8f6ee2f8", "").names() == {"id": "1dd623dab5054e07a6ed6b4a1f967afe"}
    names = Machine("30d0e4d4c7ed476c90a1bd2b8f6ee2f8", "4c4c4544004235108052b4c04f4e5931").names()
    assert set(names) == {"id", "product"} and "30d0" not in str(names)
    assert Machine("", "").names() == {}
