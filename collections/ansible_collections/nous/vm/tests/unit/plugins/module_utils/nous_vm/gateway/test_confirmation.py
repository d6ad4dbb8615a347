# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change is confirmed from outside, or rolled back by the host itself."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import events, locks
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import apply, configuration, confirmation
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway.commands import gate_apply, gate_confirm


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(confirmation, "RUNTIME", tmp_path)
    monkeypatch.setattr(confirmation, "STATE", tmp_path / "confirm")
    monkeypatch.setattr(confirmation, "is_active", lambda _unit: True)
    return tmp_path / "confirm"


def confirm(wait: float | None = None) -> dict[str, object]:
    return gate_confirm.run(argparse.Namespace(wait=wait)).document


def test_confirmed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, object]] = []
    monkeypatch.setattr(time, "sleep", lambda _seconds: seen.extend([confirm(1), confirm()]))
    assert confirmation.awaited(30) == ""
    assert (seen, here.exists()) == ([{"waits": True}, {"confirmed": True}], False)


def test_not_confirmed_in_time(here: Path) -> None:
    assert confirmation.awaited(0.01) == "The controller, which had reached the gateway before, did not within 0.01 s."
    assert not here.exists()
    with pytest.raises(NousVmError, match="was rolled back"):
        confirm()


def test_nothing_to_confirm(monkeypatch: pytest.MonkeyPatch) -> None:
    assert confirm(0) == {"waits": False}
    assert confirm(0.3) == {"waits": False}
    monkeypatch.setattr(confirmation, "is_active", lambda _unit: False)
    assert confirm(30) == {"waits": False}


@pytest.mark.parametrize(("came", "kept"), [("", "new"), ("The controller did not.", "old")])
def test_what_is_not_confirmed_is_rolled_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, came: str, kept: str) -> None:
    path = tmp_path / "Caddyfile"
    path.write_text("new")
    monkeypatch.setattr(locks, "FOLDER", tmp_path / "locks")
    monkeypatch.setattr(events, "record", lambda *_event, **_about: None)
    monkeypatch.setattr(configuration, "KNOWN_GOOD", tmp_path / "known-good.json")
    monkeypatch.setattr(configuration, "config", lambda: path)
    monkeypatch.setattr(configuration, "on_disk", lambda: {str(path): path.read_text()})
    monkeypatch.setattr(apply, "serve", lambda _other: "")
    asked: list[float] = []

    def awaited(seconds: float) -> str:
        asked.append(seconds)
        return came

    monkeypatch.setattr(confirmation, "awaited", awaited)
    configuration.keep_known_good({str(path): "old"})
    result = gate_apply.run(argparse.Namespace(confirm=30))
    assert (path.read_text(), configuration.known_good(), asked) == (kept, {str(path): kept}, [30])
    assert (result.code, came in result.text) == (1 if came else 0, True)


def test_the_first_configuration_is_not_to_be_confirmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "record", lambda *_event, **_about: None)
    monkeypatch.setattr(configuration, "KNOWN_GOOD", tmp_path / "known-good.json")
    monkeypatch.setattr(configuration, "on_disk", lambda: {"x": "y"})
    monkeypatch.setattr(apply, "serve", lambda _other: "")
    assert apply.apply(30) == ("", False)
