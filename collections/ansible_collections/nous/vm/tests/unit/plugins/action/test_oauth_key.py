# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action oauth_key executes nothing for a key set that the probe of this run proved, with the very same options, and the module for any other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible import constants
from ansible_collections.nous.vm.plugins.action.oauth_key import ActionModule
from ansible_collections.nous.vm.plugins.module_utils._oauth_key import KeySpec, ensure_key
from ansible_collections.nous.vm.plugins.module_utils._probe import answers, keys
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key import jwk
from ansible_collections.nous.vm.plugins.plugin_utils import run

from .acting import Acting

MODULE = {"changed": True, "kid": "new"}


@pytest.fixture
def acting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Acting:
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path / "run"))
    return Acting(monkeypatch, ActionModule, lambda _name, _arguments: MODULE)


@pytest.fixture
def requested(tmp_path: Path) -> dict[str, Any]:
    """A key set that is there, by the options of the module."""
    me = {"owner": str(os.geteuid()), "group": str(os.getegid()), "jwks_owner": str(os.geteuid()), "jwks_group": str(os.getegid())}
    paths = {"path": str(tmp_path / "keys/1.pem"), "jwks_path": str(tmp_path / "jwks.json")}
    ensure_key(KeySpec(**{**paths, **me}), check_mode=False)  # type: ignore[arg-type] # none of them is a number
    return {**paths, **me, "mode": "0600", "jwks_mode": "0640"}


def seen(requested: dict[str, Any]) -> str:
    found = answers({"keys": [requested]}, b"")
    assert not found["failed"], found
    return run.record(found)


def test_nothing_is_executed(acting: Acting, requested: dict[str, Any]) -> None:
    found = acting.run(requested | {"seen": seen(requested)})
    module = ensure_key(KeySpec(**{**requested, "mode": 0o600, "jwks_mode": 0o640}), check_mode=False).result()
    assert acting.executed == []
    assert found == module
    assert (found["changed"], found["actions"], len(found["kid"])) == (False, [], 43)


def other_owner(path: Path) -> None:
    path.chmod(0o640)


def other_key(path: Path) -> None:
    path.write_text("no key", encoding="utf-8")


@pytest.mark.parametrize("change", [Path.unlink, other_owner, other_key])
@pytest.mark.parametrize("option", ["path", "jwks_path"])
def test_what_is_not_as_requested_is_the_module_s(acting: Acting, requested: dict[str, Any], change: Any, option: str) -> None:
    if (change, option) == (other_owner, "jwks_path"):
        requested["jwks_mode"] = "0644"
    change(Path(requested[option]))
    assert acting.run(requested | {"seen": seen(requested)})["kid"] == "new"
    assert acting.executed == [("nous.vm.oauth_key", requested)]


def test_with_other_options_it_is_the_module_s(acting: Acting, requested: dict[str, Any]) -> None:
    identity = seen(requested)
    for more in ({"rotation": "begin"}, {"mode": "0400"}):
        acting.run(requested | more | {"seen": identity})
    assert [arguments for _name, arguments in acting.executed] == [requested | {"rotation": "begin"}, requested | {"mode": "0400"}]


@pytest.mark.parametrize("identity", [None, "0" * 32])
def test_without_what_was_seen_it_is_the_module_s(acting: Acting, requested: dict[str, Any], identity: str | None) -> None:
    acting.run(requested | ({"seen": identity} if identity else {}))
    assert acting.executed == [("nous.vm.oauth_key", requested)]


def test_without_the_library_nothing_is_proven(acting: Acting, requested: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwk, "CRYPTOGRAPHY_ERROR", "absent")
    assert keys([requested]) == []
