# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter sandbox: the directives of a unit as a template takes them."""

from __future__ import annotations

import typing as t

from ansible_collections.nous.vm.plugins.filter.sandbox import FilterModule as Plugin
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.sandbox import BASE

sandbox = t.cast("t.Callable[..., str]", Plugin().filters()["sandbox"])


def test_a_unit_without_changes_has_every_directive() -> None:
    lines = sandbox({}).splitlines()
    assert {line.split("=")[0] for line in lines} == set(BASE)
    assert "ProtectSystem=strict" in lines


def test_changes_of_a_unit() -> None:
    changes = {"PrivateNetwork": False, "ProtectHome": None, "ReadWritePaths": ["/a", "-/b"], "UMask": "0027"}
    lines = sandbox(changes).splitlines()
    assert "PrivateNetwork=no" in lines
    assert not [line for line in lines if line.startswith("ProtectHome=")]
    assert [line for line in lines if line.startswith("ReadWritePaths=")] == ["ReadWritePaths=/a", "ReadWritePaths=-/b"]
    assert [line for line in lines if line.startswith("UMask=")] == ["UMask=0027"]
