# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module packages as ansible runs it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nous.vm.plugins.module_utils._packages import Outcome, PackagesError
from ansible_collections.nous.vm.plugins.modules import packages


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, outcome: Outcome | Exception, **arguments: Any) -> dict[str, Any]:
    def ensure(*given: Any) -> Outcome:
        assert given == (["caddy"], [], 300, bool(arguments.get("_ansible_check_mode")))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(packages, "ensure", ensure)
    with patch_module_args({"name": ["caddy"], **arguments}), pytest.raises(SystemExit):
        packages.main()
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_installed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, text: warned.append(text))
    found = run(capsys, monkeypatch, Outcome(["caddy"], completed=True, warnings=["x"]), _ansible_diff=True)
    assert (found["changed"], found["installed"], found["completed"], found["msg"]) == (True, ["caddy"], True, "Installed caddy.")
    assert found["diff"] == {"before": "", "after": "caddy\n"}
    assert warned == ["x"]
    assert set(found) - {"changed", "diff", "invocation"} == set(yaml.safe_load(packages.RETURN))


def test_would_be_installed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(capsys, monkeypatch, Outcome(["caddy"]), _ansible_check_mode=True)
    assert (found["changed"], found["msg"], found["diff"]) == (True, "Would install caddy.", {})


def test_nothing_lacks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(capsys, monkeypatch, Outcome())
    assert (found["changed"], found["msg"]) == (False, "All packages are installed.")


@pytest.mark.parametrize("error", [PackagesError("one sentence."), PermissionError("one sentence.")])
def test_failed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    found = run(capsys, monkeypatch, error)
    assert (found["failed"], found["msg"]) == (True, "one sentence.")


def test_it_takes_what_it_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    class Taken(Exception):
        pass

    def module(argument_spec: dict[str, Any], supports_check_mode: bool) -> None:
        assert supports_check_mode
        raise Taken(argument_spec)

    monkeypatch.setattr(packages, "AnsibleModule", module)
    with pytest.raises(Taken) as taken:
        packages.main()
    documented = yaml.safe_load(packages.DOCUMENTATION)["options"]
    assert {name: {key: value for key, value in about.items() if key != "description"} for name, about in documented.items()} == taken.value.args[0]
