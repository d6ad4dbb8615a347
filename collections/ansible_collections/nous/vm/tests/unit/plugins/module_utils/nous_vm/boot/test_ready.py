# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a host is ready, and what who logs in is told."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.boot import ready, summary
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.boot.commands import ready as command
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.overview import Attention, Overview

LINES = {"nous": "https://nous.example.org", "release": "1.2.3", "health": "healthy", "gateway": "allows 192.0.2.0/24", "key": "EdDSA", "traffic": "flows"}
FAILED = Attention("key", "signing key", "fail", "corrupt", "rotate it")


@pytest.fixture(autouse=True)
def motd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(ready, "MOTD", tmp_path / "motd.d/nous-vm")
    return tmp_path / "motd.d/nous-vm"


def find(monkeypatch: pytest.MonkeyPatch, *attention: Attention, lines: dict[str, str] | None = None) -> None:
    monkeypatch.setattr(ready, "overview", lambda: Overview(LINES if lines is None else lines, list(attention), []))


def test_a_host_in_its_expected_state(monkeypatch: pytest.MonkeyPatch, motd: Path) -> None:
    find(monkeypatch, Attention("key", "rotation", "warn", "due", "rotate it"))
    text = "nous     https://nous.example.org\nrelease  1.2.3\nkey      EdDSA\ngateway  allows 192.0.2.0/24\n"
    result = command.run(argparse.Namespace())
    assert result == ({"ready": True, "message": text}, text.rstrip("\n"), 0)
    assert (motd.read_text(encoding="utf-8"), motd.stat().st_mode & 0o777) == (text, 0o644)
    assert command.run(argparse.Namespace()) == ({"ready": True, "message": ""}, "", 0)


def test_a_host_that_is_not(monkeypatch: pytest.MonkeyPatch, motd: Path) -> None:
    find(monkeypatch, FAILED, FAILED._replace(part="deploy"), FAILED._replace(status="warn"))
    result = command.run(argparse.Namespace())
    text = "nous at https://nous.example.org is NOT ready: key: signing key: corrupt; deploy: signing key: corrupt"
    assert (result.text, result.code, result.document["ready"]) == (text, 1, False)
    assert motd.read_text(encoding="utf-8") == f"{text}\n"


def test_what_is_not_known_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    find(monkeypatch, lines={})
    assert ready.ready()[1] == "".join(f"{label:8} unknown\n" for label in ("nous", "release", "key", "gateway"))
    find(monkeypatch, FAILED, lines={})
    assert ready.ready()[1].startswith("nous at an unknown URL is NOT ready: ")


def test_a_few_of_many_failures_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    find(monkeypatch, *[FAILED] * 20)
    assert ready.ready()[1].endswith("; 12 more: sudo nous-vm status\n")


def test_the_url_is_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "boot.json").write_text(json.dumps({"url": "https://nous.example.org"}), encoding="utf-8")
    monkeypatch.setattr(ready, "CONFIGURATION", tmp_path)
    assert list(summary.summary()) == [("nous", "https://nous.example.org")]
