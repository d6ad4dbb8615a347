# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module goes over to the distribution's interpreter for a library that is there, once."""

from __future__ import annotations

import pytest
from ansible_collections.nous.vm.plugins.module_utils import _system_python


@pytest.mark.parametrize(("respawned", "has_it", "expected"), [(False, True, ["/usr/bin/python3"]), (False, False, []), (True, True, [])])
def test_respawned_once(monkeypatch: pytest.MonkeyPatch, respawned: bool, has_it: bool, expected: list[str]) -> None:
    went: list[str] = []

    def probe(interpreters: list[str], library: str) -> str | None:
        assert library == "cryptography"
        return interpreters[0] if has_it else None

    monkeypatch.setattr(_system_python, "has_respawned", lambda: respawned)
    monkeypatch.setattr(_system_python, "probe_interpreters_for_module", probe)
    monkeypatch.setattr(_system_python, "respawn_module", went.append)
    _system_python.respawn_for("cryptography")
    assert went == expected
