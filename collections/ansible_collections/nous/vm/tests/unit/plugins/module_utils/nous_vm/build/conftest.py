# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the build share."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build import fetch, tools
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.stream import Receiver
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.build.fetching import Programs


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Programs:
    made = Programs()
    monkeypatch.setattr(tools, "run", made.run)
    return made


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Answer a request as the fetch unit does; return the result, with what came in tmp_path/got."""
    for name in ("work", "got"):
        (tmp_path / name).mkdir(exist_ok=True)
    monkeypatch.setattr(fetch, "ARCHIVES", tmp_path)

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        known = {
            "folder": str(tmp_path / "work"),
            "version": "3.13",
            "environment": {"A": "b"},
            "uv": "/uv",
            "python": "/python",
            "space": 1000,
            "constraints": ["c"],
            "resolved": [],
        }
        out = io.BytesIO()
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(json.dumps(known | request).encode())))
        monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=out))
        fetch.main()
        return Receiver(tmp_path / "got", 1 << 20).receive(io.BytesIO(out.getvalue()))

    return ask
