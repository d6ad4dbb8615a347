# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why traffic is paused: a set of reasons, of which each owner clears its own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import pause
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError, UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.names import RUNTIME


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pause, "RUNTIME", tmp_path / "run")
    monkeypatch.setattr(pause, "FOLDER", tmp_path / "run/pause")
    monkeypatch.setattr(pause, "UNAUDITED", tmp_path / "run/unaudited.json")
    return tmp_path / "run/pause"


def test_no_reason_outlives_a_boot() -> None:
    assert str(RUNTIME).startswith("/run/")
    assert pause.reasons() == []


def test_reasons_are_a_set() -> None:
    first = pause.add("deployment", "deploy 1.2.3")
    second = pause.add("alice", "maintenance", reject=True)
    assert [reason.owner for reason in pause.reasons()] == ["deployment", "alice"]
    assert pause.reasons() == [first, second]
    assert not first.reject
    assert second.reject


def test_each_owner_clears_its_own() -> None:
    pause.add("deployment", "deploy 1.2.3")
    pause.add("alice", "maintenance")
    assert pause.clear("deployment") is True
    assert pause.clear("deployment") is False
    assert [reason.owner for reason in pause.reasons()] == ["alice"]


def test_an_owner_has_one_reason() -> None:
    pause.add("alice", "one")
    pause.add("alice", "two")
    assert [reason.why for reason in pause.reasons()] == ["two"]


def test_a_reason_whose_time_is_over_does_not_count() -> None:
    reason = pause.add("guard", "full disk", seconds=60)
    assert reason.until == reason.since + 60
    assert pause.reasons(reason.since + 59) == [reason]
    assert pause.reasons(reason.since + 61) == []
    assert pause.add("guard", "full disk").until == 0
    assert len(pause.reasons(reason.since + 1e9)) == 1


def test_a_reason_for_a_person() -> None:
    assert str(pause.Reason("guard", "full disk", 0.0)) == "held by guard since 1970-01-01 00:00:00 UTC: full disk"
    assert str(pause.Reason("alice", "work", 60.0, reject=True)) == "rejected by alice since 1970-01-01 00:01:00 UTC: work"


def test_what_is_no_reason_does_not_count(folder: Path) -> None:
    reason = pause.add("alice", "work")
    contents = ["", "[]", '{"owner": "x"}', json.dumps({"owner": "x", "why": "y", "since": 1, "colour": "red"})]
    for number, content in enumerate(contents):
        (folder / f"x{number}.json").write_text(content, encoding="utf-8")
    os.mkfifo(folder / "fifo.json")
    (folder / ".alice.json.1.new").write_text("{}", encoding="utf-8")
    assert pause.reasons() == [reason]


@pytest.mark.parametrize("owner", ["", "../x", "a b", "a/b", ".x", "a\x1b"])
def test_an_owner_is_a_plain_word(owner: str) -> None:
    with pytest.raises(UsageError, match="is no owner of a pause; allowed are") as caught:
        pause.add(owner, "x")
    assert str(caught.value).isprintable()
    with pytest.raises(UsageError):
        pause.clear(owner)


def test_owners_with_dashes() -> None:
    pause.add("my-guard_2", "x")
    assert pause.clear("my-guard_2")


def test_a_folder_that_is_a_link_is_rejected(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder.parent.mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NousVmError):
        pause.add("alice", "x")
    assert os.listdir(tmp_path / "elsewhere") == []


def test_answers_that_are_not_recorded_are_allowed_for_a_time() -> None:
    assert pause.unaudited() is None
    pause.allow_unaudited("an answer is worth more", 60)
    found = pause.unaudited()
    assert found
    assert found[0] == "an answer is worth more"
    assert pause.unaudited(found[1] + 1) is None
    pause.UNAUDITED.write_text("{}")
    assert pause.unaudited() is None
