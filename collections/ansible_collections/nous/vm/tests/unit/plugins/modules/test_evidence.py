# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules of the evidence as ansible runs them, and what they document."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nous.vm.plugins.action import fetch_audit as action
from ansible_collections.nous.vm.plugins.module_utils import _audit_evidence as logic
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit import checkpoint_rows
from ansible_collections.nous.vm.plugins.modules import audit_evidence, fetch_audit
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.audit.evidence import LOG, Estate, configuration


def run(capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        audit_evidence.main()
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture
def estate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Estate:
    made = Estate(tmp_path / "host")
    monkeypatch.setattr(logic, "named", lambda name: configuration(made.folder, name))
    monkeypatch.setattr(logic, "TRAIL", made.trail)
    monkeypatch.setattr(checkpoint_rows, "FOLDER", tmp_path)
    made.write(3)
    return made


def test_it_lists_and_reads(estate: Estate, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys)
    assert (found["changed"], found["jwks"], [each["kind"] for each in found["files"]]) == (False, "", ["trail", "log"])
    log = found["files"][1]
    assert log["size"] == estate.log.stat().st_size
    key = f"log/{LOG}/{log['segment']}"
    content = run(capsys, piece={"key": key, "start": 10, "size": 50})["content"]
    assert zlib.decompress(base64.b64decode(content)) == estate.log.read_bytes()[10:60]
    assert {"files", "jwks", "content"} == set(yaml.safe_load(audit_evidence.RETURN))


def test_what_cannot_be_read(estate: Estate, capsys: pytest.CaptureFixture[str]) -> None:
    (estate.folder / f"{LOG}.1.gz").write_bytes(b"nothing of gzip")
    assert run(capsys)["msg"].startswith("the evidence cannot be read: BadGzipFile")
    assert run(capsys, piece={"key": "x"})["msg"] == "the evidence cannot be read: KeyError: 'start'"


def test_the_action_takes_and_returns_what_is_documented() -> None:
    documented = yaml.safe_load(fetch_audit.DOCUMENTATION)["options"]
    assert {name: {key: value for key, value in about.items() if key != "description"} for name, about in documented.items()} == action.OPTIONS
    assert set(yaml.safe_load(fetch_audit.RETURN)) == {"fetched", "whole", "parts", "differs", "key"}
