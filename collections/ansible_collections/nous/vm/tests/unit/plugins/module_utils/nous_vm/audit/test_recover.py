# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nous-vm audit recover, and the rotation after one that was killed at any step: nothing is lost or doubled."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import atomic, inodes
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.freeze import Pause
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import InterruptedWork, NousVmError
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.audit.place import LINES, LOGS, Place


@pytest.mark.parametrize("appended", [0, 3, 50_000], ids=lambda number: f"{number} appended")
@pytest.mark.parametrize("content", LOGS.values(), ids=LOGS.keys())
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
    assert at >= 9


def test_the_next_rotation_makes_up_for_a_killed_one(place: Place) -> None:
    """Although nobody recovered."""
    for at in range(10):
        inode = place.write(LINES)
        place.killed("rotate", at)
        assert place.run("rotate") == 0
        place.assert_complete(LINES, inode)
        place.again()


@pytest.mark.parametrize("content", LOGS.values(), ids=LOGS.keys())
def test_recovery_can_be_killed_too(place: Place, content: bytes) -> None:
    for at in (2, 4, 6):
        for then in range(9):
            inode = place.write(content)
            assert place.killed("rotate", at)
            place.append(b"later\n")
            place.killed("recover", then)
            assert place.run("recover") == 0
            place.assert_complete(content + b"later\n", inode)
            place.again()


def test_recovery_killed_between_what_is_kept_and_its_journal(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """More to keep was written than the journal speaks of."""
    inode = place.write(LINES)
    place.killed_with_journal()
    place.append(b"later\n")
    write = atomic.write

    def killed_after(path: Path, content: bytes) -> None:
        write(path, content)
        raise GeneratorExit  # nothing catches it, as nothing catches SIGKILL

    with monkeypatch.context() as patched, pytest.raises(GeneratorExit):
        patched.setattr(atomic, "write", killed_after)
        place.run("recover")
    assert place.run("recover") == 0
    place.assert_complete(LINES + b"later\n", inode)


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
    place.killed_with_journal()
    partial = place.segment.with_name("log.partial")
    partial.chmod(0o600)
    partial.write_bytes(b"x" + partial.read_bytes()[1:])
    assert place.run("recover") == InterruptedWork.exit_code
    assert "is of other bytes" in capsys.readouterr().err
    assert place.log.read_bytes() == LINES
    assert inodes.flags(place.log) & inodes.APPEND_ONLY


def test_a_log_that_was_replaced_stops_recovery(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write(LINES)
    place.killed_with_journal()
    inodes.change(place.log, off=inodes.APPEND_ONLY)
    place.log.rename(place.directory / "elsewhere")
    place.write(LINES)
    assert place.run("recover") == InterruptedWork.exit_code
    assert "is not the file that" in capsys.readouterr().err
    assert place.log.read_bytes() == LINES
    assert inodes.flags(place.log) & inodes.APPEND_ONLY


@pytest.mark.parametrize(
    ("at", "later"), [(2, b""), (3, b""), (3, b"later\n")], ids=["thawed before the flag is lifted", "thawed before the cut", "writes before the cut"]
)
def test_a_unit_that_is_not_frozen_any_more_stops_the_rotation(
    place: Place, at: int, later: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was thawed, or it wrote although the kernel says that it is frozen. The slow part, tail and journal, is before the second look."""
    inode = place.write(LINES)
    looks: list[bytes] = []

    def still(_pause: Pause) -> dict[str, str]:
        looks.append(later)
        if len(looks) == at:
            if not later:
                raise NousVmError("a unit was thawed by somebody else")
            place.append(later)
        return {}

    with monkeypatch.context() as patched:
        patched.setattr(Pause, "still", still)
        assert place.run("rotate") == InterruptedWork.exit_code
    assert ("writable: " in capsys.readouterr().err) == (at == 3)
    assert place.run("recover") == 0
    place.assert_complete(LINES + later, inode)


def test_a_log_that_was_cut_by_somebody_else_is_not_cut_again(place: Place) -> None:
    """Shorter than the journal says: only what is to stay is written."""
    place.write(LINES)
    place.killed_with_journal()
    inodes.change(place.log, off=inodes.APPEND_ONLY)
    place.log.write_bytes(b"")
    assert place.run("recover") == 0
    assert place.content() == LINES
