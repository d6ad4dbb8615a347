# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module probe as ansible runs it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nous.vm.plugins.modules import probe


def run(capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    with patch_module_args(arguments), pytest.raises(SystemExit):
        probe.main()
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("check_mode", [True, False])
def test_it_answers_and_changes_nothing(capsys: pytest.CaptureFixture[str], check_mode: bool) -> None:
    found = run(capsys, questions={"groups": ["root"]}, key="ab" * 32, _ansible_check_mode=check_mode)
    assert (found["changed"], found["answers"]["groups"]) == (False, {"root": 0})
    assert set(found) - {"changed", "invocation"} == set(yaml.safe_load(probe.RETURN))
    assert "abab" not in json.dumps(found)


def test_a_key_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, questions={}, key="zz--zz")
    assert found["msg"].startswith("key is not of hexadecimal digits")
