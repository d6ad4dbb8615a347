# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module move: over nothing, once, and to another file system without a moment at which something is nowhere."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nous.vm.plugins.module_utils import _move
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import inodes
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed
from ansible_collections.nous.vm.plugins.modules import move

Run = Callable[..., tuple[int, dict[str, Any]]]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may set inode flags")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the module; return its exit code and what it printed."""

    def _run(**arguments: Any) -> tuple[int, dict[str, Any]]:
        with patch_module_args({"_ansible_diff": True, **arguments}), pytest.raises(SystemExit) as end:
            move.main()
        return int(end.value.code or 0), json.loads(capsys.readouterr().out)

    return _run


def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every folder be of another file system."""
    rename = os.rename

    def renamed(path: str, target: str) -> None:
        if path != target + _move.PARTIAL:
            raise OSError(errno.EXDEV, "far", path)
        rename(path, target)

    monkeypatch.setattr(os, "rename", renamed)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_moved_once(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool) -> None:
    (tmp_path / "folder/sub").mkdir(parents=True)
    (tmp_path / "folder/sub/file").write_text("x")
    (tmp_path / "folder/link").symlink_to("sub/file")
    (tmp_path / "folder/sub/file").chmod(0o640)
    (tmp_path / "file").write_text("y")
    if elsewhere:
        far(monkeypatch)
    private = tmp_path / "kept"
    moves = {str(tmp_path / name): f"{private}/deep/{name}" for name in ("folder", "file", "absent")}
    rc, foretold = run(moves=moves, private=str(private), _ansible_check_mode=True)
    assert (rc, foretold["changed"], private.exists()) == (0, True, False)
    before = os.umask(0o077)
    rc, done = run(moves=moves, private=str(private))
    os.umask(before)
    assert (private / "deep").stat().st_mode & 0o777 == 0o755
    assert (rc, done["moved"], done["diff"]) == (0, foretold["moved"], foretold["diff"])
    assert list(done["moved"]) == list(moves)[:2]
    assert (private / "deep/folder/link").read_text() == "x"
    assert (private / "deep/folder/sub/file").stat().st_mode & 0o777 == 0o640
    assert (private / "deep/file").read_text() == "y"
    assert private.stat().st_mode & 0o777 == 0o700
    assert sorted(os.listdir(tmp_path)) == ["kept"]
    assert run(moves=moves, private=str(private))[1]["changed"] is False


def test_nothing_is_overwritten(run: Run, tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / "a").write_text(f"{number}")
        run(moves={str(tmp_path / "a"): str(tmp_path / "b")})
    assert [(tmp_path / name).read_text() for name in ("b", "b~1", "b~2")] == ["0", "1", "2"]


def test_a_copy_that_was_interrupted_is_made_anew(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("all of it")
    (tmp_path / f"b{_move.PARTIAL}").mkdir()
    far(monkeypatch)
    assert run(moves={str(tmp_path / "a"): str(tmp_path / "b")})[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_what_cannot_be_copied_stays(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("x")
    far(monkeypatch)
    monkeypatch.setattr(_move, "run", lambda *_argv, **_more: Completed(1, b"", b"cp: no room\n"))
    rc, failed = run(moves={str(tmp_path / "a"): str(tmp_path / "b")})
    assert (rc, failed["msg"]) == (1, f"{tmp_path}/a cannot be copied to {tmp_path}/b: cp: no room")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_another_error_is_one_sentence(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("x")

    def denied(path: str, _target: str) -> None:
        raise OSError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "rename", denied)
    assert run(moves={str(tmp_path / "a"): str(tmp_path / "b")})[1]["msg"] == f"{tmp_path}/a: Permission denied."


@as_root
@pytest.mark.parametrize("flag", ["a", "i"])
def test_flags_are_lifted(run: Run, tmp_path: Path, flag: str) -> None:
    (tmp_path / "a").write_text("x")
    subprocess.run(["chattr", f"+{flag}", str(tmp_path / "a")], check=True)
    assert run(moves={str(tmp_path / "a"): str(tmp_path / "b")})[0] == 0
    assert not inodes.flags(tmp_path / "b") & (inodes.APPEND_ONLY | inodes.IMMUTABLE)


@pytest.mark.parametrize("path", ["a", "/a/../b", "/a/", 7])
def test_a_path_that_is_none_is_rejected(run: Run, path: object) -> None:
    for moves in ({"/x": path}, {str(path): "/x"}):
        assert run(moves=moves)[1]["msg"].startswith(f'moves has "{path}"; allowed is an absolute path')
