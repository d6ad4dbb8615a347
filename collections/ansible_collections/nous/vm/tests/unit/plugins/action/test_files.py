# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action files executes nothing for a set that is on the host, and the module with the whole set for any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible import constants
from ansible_collections.nous.vm.plugins.action.files import ActionModule
from ansible_collections.nous.vm.plugins.module_utils._probe import answers
from ansible_collections.nous.vm.plugins.plugin_utils import run

from .acting import Acting

MODULE = {"changed": True, "changed_paths": ["/x"], "diff": []}


@pytest.fixture
def acting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Acting:
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path / "run"))
    return Acting(monkeypatch, ActionModule, lambda _name, _arguments: MODULE)


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Any]:
    """A set that is on this host, with what the probe of this run saw."""
    path = tmp_path / "a"
    path.write_text("text", encoding="utf-8")
    path.chmod(0o600)
    return {"files": [{"path": str(path), "secret_content": "text", "mode": "0600", "owner": str(path.stat().st_uid), "group": str(path.stat().st_gid)}]}


def seen(tmp_path: Path) -> dict[str, Any]:
    return answers({"paths": [f"{tmp_path}/*"]}, bytes.fromhex(run.key()))


def test_nothing_is_executed(acting: Acting, arguments: dict[str, Any], tmp_path: Path) -> None:
    found = acting.run(arguments | {"host": seen(tmp_path)})
    assert (found["changed"], found["changed_paths"], found["diff"], acting.executed) == (False, [], [], [])


def test_what_was_seen_by_another_run_tells_nothing(acting: Acting, arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = seen(tmp_path)
    (tmp_path / "other").mkdir()
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path / "other"))
    acting.run(arguments | {"host": host})
    assert len(acting.executed) == 1


@pytest.mark.parametrize("host", [None, {}, "text"])
def test_the_module_is_executed_without_what_was_seen(acting: Acting, arguments: dict[str, Any], host: Any) -> None:
    found = acting.run(arguments | {"host": host})
    assert (found["changed"], found["changed_paths"]) == (True, ["/x"])
    assert acting.executed == [("nous.vm.files", arguments)]


def test_the_module_is_executed_where_something_differs(acting: Acting, arguments: dict[str, Any], tmp_path: Path) -> None:
    host = seen(tmp_path)
    other = {"files": [arguments["files"][0] | {"secret_content": "other"}]}
    assert acting.run(other | {"host": host})["changed"]
    assert acting.executed == [("nous.vm.files", other)]
