# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nous-vm gate denied, apply, reload and state."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import cli, locks
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import LockedError, UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import configuration, denials
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import state as known_state
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway.apply import Outcome
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway.commands import gate_apply, gate_denied, gate_reload, gate_state
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway.reload import Reloaded

NONE = argparse.Namespace()
WORDS = ("allow", "apply", "arrived", "confirm", "count", "denied", "fetch", "forget", "list", "reload", "repair", "state", "update")


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(locks, "FOLDER", tmp_path / "locks")


def test_they_are_commands_of_the_host() -> None:
    found = {name: module for name, module in cli.commands().items() if name.startswith("gate ")}
    assert found == {f"gate {name}": f"gateway.commands.gate_{name}" for name in WORDS}


def denied(*words: str) -> cli.Result:
    return gate_denied.run(cli.parser("gate denied", gate_denied).parse_args(words))


def test_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    last = denials.Denial(1_800_000_000.0, "203.0.113.5", "GET", "nous.example.org/token", "address")
    monkeypatch.setattr(gate_denied, "denied_since", lambda _since: denials.Denials({"203.0.113.5": (2, last)}, ["access.log is not a regular file"]))
    result = denied("--hours", "24")
    assert result.text.splitlines()[0] == denials.shown("203.0.113.5", 2, last)
    assert result.text.splitlines()[1] == "not read: access.log is not a regular file"
    about = {"time": last.when, "method": "GET", "target": "nous.example.org/token", "reason": "address"}
    assert result.document == {
        "hours": 24.0,
        "denied": [{"address": "203.0.113.5", "times": 2, "last": about, "client": False}],
        "unreadable": ["access.log is not a regular file"],
    }


def test_nobody_was_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_denied, "denied_since", lambda _since: denials.Denials({}, []))
    assert denied() == ({"hours": 1, "denied": [], "unreadable": []}, "nobody was denied in the last 1 h", 0)


def test_only_root_sees_who_was_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    with pytest.raises(UsageError, match="run it with sudo"):
        denied()


def test_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_apply, "apply", lambda _confirm: Outcome(""))
    assert gate_apply.run(argparse.Namespace(confirm=0)) == ({"applied": True, "rolled_back": False, "message": ""}, "the gateway is ready", 0)
    monkeypatch.setattr(gate_apply, "apply", lambda _confirm: Outcome("it is bad", True))
    assert gate_apply.run(argparse.Namespace(confirm=0)) == ({"applied": False, "rolled_back": True, "message": "it is bad"}, "it is bad", 1)


def test_reload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_reload, "reload", lambda: Reloaded("", ""))
    assert gate_reload.run(NONE) == ({"reloaded": True, "message": ""}, "", 0)
    monkeypatch.setattr(gate_reload, "reload", lambda: Reloaded("caddy reload failed: x", "A plain reload."))
    assert gate_reload.run(NONE) == ({"reloaded": False, "message": "caddy reload failed: x A plain reload."}, "caddy reload failed: x A plain reload.", 1)


def test_an_apply_and_a_reload_exclude_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (gate_apply, gate_reload):
        monkeypatch.setattr(module, "WAIT", 0)
        with locks.held("gateway", "a test", who="ann"), pytest.raises(LockedError, match="held by ann, a test, since "):
            module.run(NONE)


def state(*words: str) -> cli.Result:
    return gate_state.run(cli.parser("gate state", gate_state).parse_args(words))


def test_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CADDYFILE", "PARAMETERS", "CADDY"):
        monkeypatch.setattr(configuration, name, tmp_path / name.lower())
    monkeypatch.setattr(known_state, "holders", lambda _ports, _unit: {80: "nginx (pid 7)"})
    result = state(str(tmp_path / "other"))
    assert result.document == known_state.state(tmp_path / "other")
    assert result.text == f"{tmp_path / 'other'}: absent, not verified, not served; port 80 is held by nginx (pid 7)"
    monkeypatch.setattr(known_state, "holders", lambda _ports, _unit: {})
    monkeypatch.setattr(gate_state, "config", lambda: tmp_path / "caddyfile")
    assert state().text == f"{tmp_path / 'caddyfile'}: absent, not verified, not served; ports are free, or Caddy holds them"
