# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of nous-vm-first-boot that need no host."""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from controller import REPOSITORY

PROGRAM = REPOSITORY / "collections/ansible_collections/nous/vm/playbooks/files/nous-vm-first-boot"
LINE = "nous-vm-first-boot: packages: no room (attempt 1 of 12; ...)"
GENERIC = "('scripts_user', RuntimeError('Runparts: 1 failures (runcmd) in 1 attempted commands'))"
FAILED = "Failed to run module scripts-user (scripts in /var/lib/cloud/instance/scripts)"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("first_boot", str(PROGRAM))
    spec = importlib.util.spec_from_loader("first_boot", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(module)
    monkeypatch.setattr(module, "STATUS", tmp_path / "status.json")
    return module


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        pytest.param(["E: Unable to locate package x\n", "\n"], "Unable to locate package x", id="apt"),
        pytest.param(
            ["WARNING: Retrying after connection broken by 'Connection refused'\n", "ERROR: No matching distribution found for x\n"],
            "No matching distribution found for x (Connection refused)",
            id="pip-without-a-network",
        ),
        pytest.param(["fatal: repository 'x' not found\n", "[ERROR]: Failed to clone x\n"], "Failed to clone x", id="galaxy"),
        pytest.param(['fatal: [nous]: FAILED! => {"changed": false, "msg": "one\\n  sentence"}\n', "PLAY RECAP\n"], "one sentence", id="ansible"),
        pytest.param(["something\n", " \n"], "something", id="last-line"),
        pytest.param([], "it said nothing", id="nothing"),
    ],
)
def test_the_cause_is_one_line(program: ModuleType, lines: list[str], cause: str) -> None:
    assert program.cause(lines) == cause


def status(errors: list[str], recoverable: dict[str, list[str]]) -> str:
    return json.dumps({"v1": {"datasource": "NoCloud", "modules-final": {"errors": errors, "recoverable_errors": recoverable, "start": 1.0}}})


def test_the_line_takes_the_place_of_what_cloud_init_says_of_the_same(program: ModuleType) -> None:
    program.STATUS.write_text(status(["another", GENERIC], {"WARNING": [FAILED, "deprecated"], "ERROR": [FAILED]}), encoding="utf-8")
    program.record(LINE)
    program.record(LINE)
    assert program.STATUS.read_text(encoding="utf-8") == status(["another", LINE], {"WARNING": ["deprecated"]})
    program.record("")
    assert program.STATUS.read_text(encoding="utf-8") == status(["another"], {"WARNING": ["deprecated"]})


@pytest.mark.parametrize("content", [None, "{", "{}"], ids=["no file", "no JSON", "nothing in it"])
def test_whatever_goes_wrong_is_said_and_counted(program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None) -> None:
    said: list[str] = []
    monkeypatch.setattr(program, "CONFIG", tmp_path / "first-boot.json")
    monkeypatch.setattr(program, "SECRETS", tmp_path / "secrets")
    monkeypatch.setattr(program, "say", said.append)
    monkeypatch.setattr(sys, "argv", ["nous-vm-first-boot"])
    if content is not None:
        program.CONFIG.write_text(content, encoding="utf-8")
    program.SECRETS.write_text("left by a run that was killed", encoding="utf-8")
    assert program.main() == 1
    assert len(said) == 1 and said[0].startswith("nous-vm-first-boot: ") and "(attempt 1 of 12; it is tried again soon" in said[0]
    assert "\n" not in said[0]
    assert not program.SECRETS.exists()


def test_without_cloud_init_nothing_is_recorded(program: ModuleType, tmp_path: Path) -> None:
    program.record(LINE)
    assert list(tmp_path.iterdir()) == []


def test_only_the_file_that_was_meant_gets_its_name(program: ModuleType, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "folder/target.tar.gz"
    source.write_bytes(b"meant")
    meant = hashlib.sha256(b"meant").hexdigest()
    with pytest.raises(program.Failed, match=f"its SHA-256 is {meant}, not {'0' * 64}"):
        program.fetch(source.as_uri(), "0" * 64, target)
    assert not target.exists()
    program.fetch(source.as_uri(), meant, target)
    assert target.read_bytes() == b"meant"
    source.unlink()
    program.fetch(source.as_uri(), meant, target)
    target.write_bytes(b"torn")
    with pytest.raises(program.Failed, match="No such file"):
        program.fetch(source.as_uri(), meant, target)


def test_a_command_that_fails_says_why(program: ModuleType) -> None:
    with pytest.raises(program.Failed, match=r"^a step: no room$"):
        program.run("a step", "sh", "-c", "echo error: no room >&2; echo more; exit 3")
