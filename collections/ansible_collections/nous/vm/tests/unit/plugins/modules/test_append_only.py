# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module append_only as ansible runs it: arguments in, one JSON document out."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nous.vm.plugins.modules import append_only

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may set inode flags")


Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the module; return its exit code and what it printed."""

    def _run(**arguments: Any) -> tuple[int, dict[str, Any]]:
        with patch_module_args({"group": "root", "_ansible_diff": True, **arguments}), pytest.raises(SystemExit) as end:
            append_only.main()
        return int(end.value.code or 0), json.loads(capsys.readouterr().out)

    return _run


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "logs"
    if os.geteuid() == 0:
        subprocess.run(["chattr", "-R", "-f", "-a", str(tmp_path)], check=False)


@as_root
def test_made_once(run: Run, logs: Path) -> None:
    arguments = {"path": str(logs), "files": ["a", "b"]}
    paths = [str(logs), str(logs / "a"), str(logs / "b")]
    rc, foretold = run(**arguments, _ansible_check_mode=True)
    assert (rc, foretold["changed"], foretold["changed_paths"]) == (0, True, paths)
    assert not logs.exists()

    rc, first = run(**arguments)
    assert (rc, first["changed"], first["changed_paths"], first["diff"]) == (0, True, paths, foretold["diff"])
    assert first["diff"][1]["before"] == {"state": "absent"}
    assert set(first) - {"changed", "diff", "invocation"} == set(yaml.safe_load(append_only.RETURN))

    rc, second = run(**arguments)
    assert (rc, second["changed"], second["changed_paths"], second["diff"]) == (0, False, [], [])


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"mode": "rw"}, 'mode is "rw"; allowed are three octal digits, for example "0660".'),
        ({"directory_mode": "0999"}, 'directory_mode is "0999"; allowed are three octal digits'),
        ({"path": "relative"}, 'path is "relative"; allowed is an absolute path, for example /var/log/nous.'),
        ({"files": ["a/b"]}, 'files has "a/b"; allowed is the name of a file in /nowhere/logs'),
        ({"files": [""]}, 'files has ""; allowed'),
        ({"files": [".."]}, 'files has ".."; allowed'),
    ],
)
def test_bad_input_is_rejected_in_one_sentence(run: Run, wrong: dict[str, Any], sentence: str) -> None:
    rc, result = run(**{"path": "/nowhere/logs", "files": ["a"], **wrong})
    assert (rc, result["failed"]) == (1, True)
    assert result["msg"].startswith(sentence)
    assert not Path("/nowhere").exists()


@as_root
def test_a_rejection_is_one_sentence(run: Run, logs: Path) -> None:
    rc, result = run(path=str(logs), files=["a"], group="no-such-group")
    assert rc == 1
    assert result["msg"] == f"{logs} cannot be given to root:no-such-group: getgrnam(): name not found: 'no-such-group'."


def test_an_error_of_the_system_names_the_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    rc, result = run(path=str(tmp_path / "file" / "logs"), files=["a"])
    assert rc == 1
    assert result["msg"] == f"{tmp_path}/file/logs is not a directory."


def test_a_call_that_fails_is_reported_with_its_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device", "/some/file")

    monkeypatch.setattr(append_only, "ensure", broken)
    assert run(path=str(tmp_path), files=["a"])[1]["msg"] == "/some/file: No space left on device."
