# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The score of a unit's sandbox is asked for again when, and only when, something that it depends on has changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import exposure
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed

UNIT = "nous-a-b.service"


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What systemd-analyze answers next; it is empty when it was asked."""
    answers: list[str] = []
    monkeypatch.setattr(exposure, "RUNTIME", tmp_path / "run")
    monkeypatch.setattr(exposure, "KNOWN", tmp_path / "run/exposure")
    monkeypatch.setattr(exposure, "PLACES", (str(tmp_path / "etc"),))
    monkeypatch.setattr(exposure, "PACKAGES", ())
    monkeypatch.setattr(exposure, "PROGRAM", tmp_path / "systemd")
    monkeypatch.setattr(exposure, "reloaded", lambda: str(len(list(tmp_path.glob("reload*")))))
    monkeypatch.setattr(exposure, "run", lambda _argv, **_options: Completed(0, answers.pop(0).encode(), b""))
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / UNIT).touch()
    return answers


def line(score: str) -> str:
    return f"→ Overall exposure level for {UNIT}: {score} OK 🙂\n"


@pytest.mark.parametrize(
    "name", ["etc/nous-.service.d/a.conf", "etc/nous-a-.service.d/a.conf", "etc/service.d/a.conf", f"etc/{UNIT}.d/a.conf", "systemd", "reload1"]
)
def test_it_is_asked_again_for_what_changed(asked: list[str], tmp_path: Path, name: str) -> None:
    asked.append(line("1.4"))
    assert [exposure.score(UNIT) for _time in range(3)] == [1.4] * 3
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    asked.append(line("8.0"))
    assert [exposure.score(UNIT) for _time in range(3)] == [8.0] * 3
    os.utime(tmp_path / "etc" / UNIT, (1, 1))
    asked.append(line("9.9"))
    assert exposure.score(UNIT) == 9.9


def test_what_systemd_does_not_say_is_not_kept(asked: list[str]) -> None:
    asked += ["Unit not found", line("2.0")]
    assert exposure.score(UNIT) is None
    assert exposure.score(UNIT) == 2.0


def test_an_answer_on_several_units_is_kept_until_one_changes(asked: list[str], tmp_path: Path) -> None:
    given = [["a"], None, [], ["never"]]
    assert [exposure.kept("directives", [UNIT, "b.service"], lambda: given.pop(0)) for _time in range(2)] == [["a"]] * 2
    (tmp_path / "etc/b.service").touch()
    assert [exposure.kept("directives", [UNIT, "b.service"], lambda: given.pop(0)) for _time in range(3)] == [None, [], []]
    assert exposure.kept("directives", [UNIT], lambda: given.pop(0)) == ["never"], "of other units"


def test_systemd_is_asked_when_it_read_its_units() -> None:
    exposure.reloaded.cache_clear()
    assert exposure.reloaded() == exposure.reloaded()
