# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules gateway_info and gateway_probe as ansible runs them: arguments in, one JSON document out."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import ForeignError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import configuration, probe
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import state as known_state
from ansible_collections.nous.vm.plugins.modules import gateway_info, gateway_probe


def run(module: ModuleType, capsys: pytest.CaptureFixture[str], **arguments: Any) -> tuple[int, dict[str, Any]]:
    """Run a module; return its exit code and what it printed."""
    with patch_module_args(arguments), pytest.raises(SystemExit) as end:
        module.main()
    printed = json.loads(capsys.readouterr().out)
    printed.pop("invocation", None)
    return int(end.value.code or 0), printed


@pytest.mark.parametrize("check", [False, True])
def test_info(tmp_path: Path, check: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_state, "holders", lambda _ports, _unit: {80: "nginx (pid 7)"})
    path = tmp_path / "Caddyfile"
    code, found = run(gateway_info, capsys, config=str(path), _ansible_check_mode=check)
    assert (code, found["changed"], found["config"], found["owner"], found["port_holders"]) == (0, False, str(path), "absent", {"80": "nginx (pid 7)"})
    assert set(found) - {"changed"} == set(yaml.safe_load(gateway_info.RETURN)) - {"lacking"}


def test_info_beside_other_sites(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "CADDYFILE", tmp_path / "Caddyfile")
    code, found = run(gateway_info, capsys, config=str(tmp_path / "nous.caddy"), content="x", hostname="nous.example.org")
    assert code == 0 and "has no Caddy" in found["lacking"]
    assert set(found) - {"changed"} == set(yaml.safe_load(gateway_info.RETURN))


def test_info_wants_content_and_hostname_together(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = run(gateway_info, capsys, content="x")
    assert code == 1 and "required together" in found["msg"]


def test_info_that_cannot_be_had(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: Path) -> dict[str, Any]:
        raise ForeignError("it is too large")

    monkeypatch.setattr(gateway_info, "state", fail)
    assert run(gateway_info, capsys) == (1, {"failed": True, "msg": "it is too large"})


def test_probe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "ask", lambda *_arguments: probe.Answer(403, "address", "198.51.100.4"))
    code, found = run(gateway_probe, capsys, hostname="nous.example.org", cidrs=["203.0.113.7/32"], addresses=["192.0.2.1"])
    detail = "403 for 198.51.100.4, which is not on the allow list, at 192.0.2.1"
    assert (code, found["changed"]) == (0, False)
    assert found["row"] == {"part": "gateway", "name": "gateway from the controller", "status": "ok", "detail": detail}
    assert set(found["row"]) == set(yaml.safe_load(gateway_probe.RETURN)["row"]["contains"])
