# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nous-vm audit recover, and the rotation after one that was killed at any step: nothing is lost or doubled."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import inodes
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.freeze import Pause
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import InterruptedWork, NousVmError
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.audit.place import LINES, LOGS, Place


@pytest.mark.parametrize(("content", "appended"), [*((content, 3) for content in LOGS.values()), (LINES, 0), (LINES, 50_000)])
def test_killed_at_any_step(place: Place, content: bytes, appended: int) -> None:
    """Whatever the units wrote before recovery, because they were thawed too early, is there too."""
    at, reached = 0, True
    while reached:
        inode = place.write(content)
        reached = place.killed("rotate", at)
        new = b"".join(b"later %d\n" % number for number in range(appended))
        place.append(new)
        assert place.run("recover") == 0
        place.assert_complete(content + new, inode)
        place.again()
        at += 1
    assert at >= 20


def test_the_next_rotation_makes_up_for_a_killed_one(place: Place) -> None:
    """Although nobody recovered."""
    for at in range(0, 40, 3):
        inode = place.write(LINES)
        place.killed("rotate", at)
        assert place.run("rotate") == 0
        place.assert_complete(LINES, inode)
        place.again()


@pytest.mark.parametrize("was_cut", [True, False])
@pytest.mark.parametrize("content", [LOGS["torn"], LOGS["long last record"]], ids=["torn", "long last record"])
def test_recovery_can_be_killed_too(place: Place, content: bytes, was_cut: bool) -> None:
    """After the cut, and when the log's start was overwritten and nothing cut."""
    for then in range(0, 30, 3):
        inode = place.write(content)
        place.killed_within_the_cut(was_cut)
        place.append(b"later\n")
        place.killed("recover", then)
        assert place.run("recover") == 0
        place.assert_complete(content + b"later\n", inode)
        place.again()


def test_nothing_to_recover_changes_nothing(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    inode = place.write(LINES)
    assert place.run("recover") == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("nothing to do\n", "")
    place.assert_complete(LINES, inode)


def test_a_lost_flag_is_set_again(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write(LINES)
    inodes.change(place.log, off=inodes.APPEND_ONLY)
    assert place.run("recover") == 0
    assert f"append-only: {place.log}" in capsys.readouterr().err
    assert inodes.flags(place.log) & inodes.APPEND_ONLY


def test_a_segment_that_was_tampered_with_stops_recovery(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write(LINES)
    place.killed_within_the_cut(was_cut=False)
    before = place.log.read_bytes()
    partial = place.aside / "log.partial"
    partial.chmod(0o600)
    partial.write_bytes(b"x" + partial.read_bytes()[1:])
    assert place.run("recover") == InterruptedWork.exit_code
    assert "is of other bytes" in capsys.readouterr().err
    assert place.log.read_bytes() == before
    assert inodes.flags(place.log) & inodes.APPEND_ONLY


def test_a_log_that_was_replaced_stops_recovery(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write(LINES)
    place.killed_within_the_cut()
    inodes.change(place.log, off=inodes.APPEND_ONLY)
    place.log.rename(place.directory / "elsewhere")
    place.write(LINES)
    assert place.run("recover") == InterruptedWork.exit_code
    assert "is not the file that" in capsys.readouterr().err
    assert place.log.read_bytes() == LINES
    assert inodes.flags(place.log) & inodes.APPEND_ONLY


@pytest.mark.parametrize("at", [2, 3], ids=["before the flag is lifted", "before the cut"])
def test_a_unit_that_is_not_frozen_any_more_stops_the_rotation(place: Place, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slow part, tail and journal, is before the second look."""
    inode = place.write(LINES)
    looks: list[bool] = []

    def held(_pause: Pause) -> None:
        looks.append(bool(inodes.flags(place.log) & inodes.APPEND_ONLY))
        if len(looks) == at + 1:
            raise NousVmError("a unit was thawed by somebody else")

    with monkeypatch.context() as patched:
        patched.setattr(Pause, "held", held)
        assert place.run("rotate") == InterruptedWork.exit_code
    assert looks == [True, True, True, False][: at + 1]
    assert place.run("recover") == 0
    place.assert_complete(LINES, inode)


def test_a_unit_that_writes_although_it_is_frozen_stops_the_rotation(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    inode = place.write(LINES)
    looks: list[None] = []

    def held(_pause: Pause) -> None:
        looks.append(None)
        if len(looks) == 4:
            place.append(b"later\n")

    with monkeypatch.context() as patched:
        patched.setattr(Pause, "held", held)
        assert place.run("rotate") == InterruptedWork.exit_code
    assert "grew although its units are frozen" in capsys.readouterr().err
    assert place.run("recover") == 0
    assert "take back: " in capsys.readouterr().err
    place.assert_complete(LINES + b"later\n", inode)


def test_units_that_were_thawed_before_the_flag_was_back_are_named(
    place: Place, trail: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """systemd 255 thaws a unit that it is to stop. The log is cut by then, so all else is done too."""
    inode = place.write(LINES)
    monkeypatch.setattr(Pause, "thawed", lambda _pause: "w.service" if place.archive.exists() else "")
    assert place.run("rotate") == 1
    assert "w.service was thawed by somebody else while the log was cut" in capsys.readouterr().err
    assert "thawed too early" in trail.read_text()
    place.assert_complete(LINES, inode)


def test_a_log_that_was_cut_by_somebody_else_is_not_cut_again(place: Place) -> None:
    """Shorter than the journal says: only what is to stay is written."""
    place.write(LINES)
    place.killed_within_the_cut()
    inodes.change(place.log, off=inodes.APPEND_ONLY)
    place.log.write_bytes(b"")
    assert place.run("recover") == 0
    assert place.content() == LINES
