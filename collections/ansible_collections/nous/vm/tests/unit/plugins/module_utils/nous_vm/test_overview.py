# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One screen on a host: lines of every subpackage, within the limits of a check, and what needs attention."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import health, overview, pause
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.commands import status
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.health import Row
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.overview import Attention

STEPS = {"rotation": "rotate it"}
Lines = Iterator[tuple[str, str]]


def key_lines() -> Lines:
    yield "key", "EdDSA\x1b[31m"


def deploy_lines() -> Lines:
    yield "more", "of it"
    yield "release", "1.2.3"
    raise ZeroDivisionError


def hanging_lines() -> Lines:
    yield "gateway", "allows all"
    time.sleep(60)


def rows() -> Iterator[Row]:
    yield Row("rotation finished", "warn", "no")
    yield Row("service", "fail", "inactive")
    yield Row("port", "unknown", "")
    yield Row("mode", "ok", "")


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A host on which one subpackage gives lines, one breaks while it does, and one hangs."""
    lines = {"deploy": deploy_lines, "gateway": hanging_lines, "key": key_lines}
    monkeypatch.setattr(overview, "applied", lambda _module: list(lines))
    monkeypatch.setattr(importlib, "import_module", lambda name, _package: SimpleNamespace(summary=lines[name.split(".")[1]], NEXT_STEPS=STEPS))
    monkeypatch.setattr(overview, "parts", lambda: {"deploy": rows})
    monkeypatch.setattr(overview, "run_parts", lambda checks: health.run_parts(checks, 0.5))
    monkeypatch.setattr(pause, "FOLDER", tmp_path / "pause")
    monkeypatch.setattr(pause, "RUNTIME", tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    tmp_path.chmod(0o700)


def test_one_screen() -> None:
    found = overview.overview()
    assert list(found.lines.items()) == [
        ("release", "1.2.3"),
        ("health", "NOT healthy, 4 checks, 1 failed, 1 to look at, 1 unknown"),
        ("gateway", "allows all"),
        ("key", "EdDSA\\x1b[31m"),
        ("traffic", "flows"),
        ("more", "of it"),
    ]
    assert found.attention == [
        Attention("deploy", "service", "fail", "inactive", overview.COMPARE),
        Attention("deploy", "rotation finished", "warn", "no", "rotate it"),
    ]


def test_status(monkeypatch: pytest.MonkeyPatch) -> None:
    result = status.run(argparse.Namespace())
    lines = result.text.splitlines()
    assert lines[0] == "release  1.2.3"
    assert lines[-8:-3] == [
        "needs attention:",
        *("  fail  deploy: service: inactive", f"        {overview.COMPARE}"),
        *("  warn  deploy: rotation finished: no", "        rotate it"),
    ]
    assert lines[-3:] == ["", "not known:", "  deploy: port"]
    assert result.document["unknown"] == [{"part": "deploy", "name": "port", "detail": ""}]
    assert result.code == 1
    assert result.document["message"] == "not in the expected state: deploy: service: inactive"
    json.dumps(result.document)


def test_what_the_row_itself_names_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STEPS, "rotation", "")
    lines = status.run(argparse.Namespace()).text.splitlines()
    assert lines[lines.index("  warn  deploy: rotation finished: no") + 1 :][:2] == ["", "not known:"]


def test_a_part_without_lines_has_a_next_step_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "applied", lambda _module: [])
    assert [row.next_step for row in overview.overview().attention] == [overview.COMPARE] * 2


def test_a_healthy_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "parts", lambda: {"deploy": lambda: iter([Row("mode", "ok", "")])})
    result = status.run(argparse.Namespace())
    assert "health   healthy, 1 checks\n" in result.text
    assert "needs attention" not in result.text
    assert "not known" not in result.text
    assert (result.code, "message" in result.document, result.document["pauses"]) == (0, False, [])


@pytest.mark.skipif(os.geteuid() != 0, reason="the folder of the reasons has to be this user's")
def test_traffic_that_is_paused() -> None:
    pause.add("alice", "maintenance")
    found = overview.overview()
    assert found.lines["traffic"].startswith("paused: held by alice since ")
    assert found.document()["pauses"] == ["alice"]


def test_status_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="only root"):
        status.run(argparse.Namespace())
