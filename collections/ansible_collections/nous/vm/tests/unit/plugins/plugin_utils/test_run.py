# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tasks of one run share: a key that nobody else has, and which results were used."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible import constants
from ansible_collections.nous.vm.plugins.plugin_utils import run


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    return tmp_path


def test_the_key_is_one_for_all_and_root_s_alone(folder: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _number: run.key(), range(64)))
    assert len(keys) == 1
    assert len(bytes.fromhex(keys.pop())) == 32
    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_another_run_has_another_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = run.key()
    (tmp_path / "other").mkdir()
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path / "other"))
    assert run.key() != first


def test_a_fork_that_was_later_takes_the_key_of_the_other(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    key = run.key()
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: path.name != run.NAME and exists(path))
    assert run.key() == key
    assert [path.name for path in folder.iterdir()] == [run.NAME]


def test_a_digest_tells_nothing_without_the_key() -> None:
    assert run.digest(b"a", "00" * 32) == run.digest(b"a", "00" * 32) != run.digest(b"a", "11" * 32)


def test_a_result_is_used_once_for_each_role() -> None:
    identity = run.record({})
    assert run.use(identity, ["a", "b"])
    assert not run.use(identity, ["b", "c"])
    assert not run.use(identity, ["c"])
    assert run.use(run.record({}), ["a"])


@pytest.mark.parametrize("identity", ["", "0" * 32, f"{os.sep}etc", "../x"])
def test_no_result_of_this_run(identity: str) -> None:
    assert not run.use(identity, ["a"])
    assert run.recall(identity) is None


def test_what_was_seen_is_kept_for_this_user_and_this_run(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    identity = run.record({"/a": {"kind": "file"}})
    assert run.recall(identity) == {"/a": {"kind": "file"}}
    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (folder / "other").mkdir()
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(folder / "other"))
    assert run.recall(identity) is None


@pytest.mark.parametrize("identity", [None, {}, 7])
def test_no_number_at_all(identity: object) -> None:
    assert run.recall(identity) is None
