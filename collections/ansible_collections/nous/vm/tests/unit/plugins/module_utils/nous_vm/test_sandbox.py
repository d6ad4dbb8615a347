# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one list of sandbox directives, and that systemd knows each of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.sandbox import BASE, directives


def test_every_unit_has_them() -> None:
    assert directives()[0] == "NoNewPrivileges=yes"
    assert "CapabilityBoundingSet=" in directives()
    assert [line for line in directives() if line.startswith("SystemCallFilter=")] == ["SystemCallFilter=@system-service", "SystemCallFilter=~@privileged"]
    assert "LimitCORE=0" in directives()


def test_a_unit_can_have_other_values() -> None:
    lines = directives({"PrivateNetwork": False, "SystemCallFilter": "@system-service", "UMask": None, "ReadWritePaths": ["/a", "/b"]})
    assert "PrivateNetwork=no" in lines
    assert lines.count("SystemCallFilter=@system-service") == 1
    assert not [line for line in lines if line.startswith(("UMask=", "SystemCallFilter=~"))]
    assert lines[-2:] == ["ReadWritePaths=/a", "ReadWritePaths=/b"]
    assert BASE["PrivateNetwork"] is True


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
def test_systemd_knows_them(tmp_path: Path) -> None:
    unit = tmp_path / "x.service"
    unit.write_text("\n".join(["[Service]", "ExecStart=/bin/true", *directives()]), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert "Unknown" not in done.stderr
