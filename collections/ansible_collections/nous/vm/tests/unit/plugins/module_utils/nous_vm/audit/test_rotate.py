# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nous-vm audit rotate: what it cuts, and what it rejects."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import cli, inodes, locks
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit import invocation, rotation, segment
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import InterruptedWork, LockedError, UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.processes import Process
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.audit.place import LINES, LOGS, Place

NOTHING = {"empty": b"", "one record": b"a\n", "torn": b"a", "one and torn": b"a\nb"}


@pytest.mark.parametrize("content", LOGS.values(), ids=LOGS.keys())
def test_the_cut_is_before_the_last_record(place: Place, content: bytes) -> None:
    inode = place.write(content)
    assert place.run("rotate") == 0
    place.assert_complete(content, inode)
    assert place.archive.read_bytes().endswith(b"\n")
    assert place.log.read_bytes().count(b"\n") == 1


@pytest.mark.parametrize("content", NOTHING.values(), ids=NOTHING.keys())
def test_nothing_to_rotate_is_a_success(place: Place, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    inode = place.write(content)
    assert place.run("rotate") == 0
    assert "holds no record before its last one" in capsys.readouterr().err
    place.assert_complete(content, inode)


def test_most_of_a_large_log_is_copied_before_the_freeze(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(segment, "SMALL_TAIL", 1000)
    inode = place.write(LINES)
    assert place.run("rotate") == 0
    place.assert_complete(LINES, inode)
    printed = capsys.readouterr().err
    assert f"copy: {LINES.rindex(b'{')} bytes" in printed
    assert printed.index("copy: ") < printed.index("freeze: ")


def test_a_log_that_grows_fast_while_its_copy_is_synced(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """By more than may be left to the freeze, each time: the last copy before it is not waited for."""
    monkeypatch.setattr(segment, "SMALL_TAIL", 1000)
    monkeypatch.setattr(segment, "TAIL", len(LINES) - 1)
    monkeypatch.setattr(rotation, "AGAIN", 0)
    inode = place.write(LINES)
    fsync, bulk = os.fsync, segment.Copy.bulk
    written = [LINES]

    def grow(descriptor: int) -> None:
        written.append(LINES)
        with place.log.open("ab") as log:
            log.write(LINES)
        fsync(descriptor)

    def growing(copy: segment.Copy) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", grow)
            bulk(copy)

    monkeypatch.setattr(segment.Copy, "bulk", growing)
    assert place.run("rotate") == 0
    assert len(written) == segment.ROUNDS
    place.assert_complete(b"".join(written), inode)


def test_a_tail_that_is_too_large_to_copy_in_the_freeze_ends_the_rotation(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(segment, "TAIL", 100)
    monkeypatch.setattr(rotation, "AGAIN", 0)
    inode = place.write(LINES)
    assert place.run("rotate") == 1
    printed = capsys.readouterr().err
    assert printed.count(f"give up: {place.log} grew by {len(LINES)} bytes before its units were frozen; at most 100") == 3
    assert "given up 3 times in a row: " in printed
    place.assert_complete(LINES, inode)


def test_what_was_rotated_is_recorded_with_sizes_and_pause(place: Place, trail: Path) -> None:
    place.write(LINES)
    assert place.run("rotate") == 0
    [event] = map(json.loads, trail.read_text().splitlines())
    kept = place.log.stat().st_size
    assert (event["event"], event["result"], event["log"], event["segment_bytes"], event["log_bytes"]) == (
        *("rotated", "done", str(place.log)),
        len(LINES) - kept,
        kept,
    )
    assert 0 <= event["pause_ms"] < 10_000


def test_the_trail_is_written_after_the_thaw(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("ansible_collections.nous.vm.plugins.module_utils.nous_vm.events.record", lambda *_a, **_k: print("recorded"))
    place.write(LINES)
    assert place.run("rotate") == 0
    captured = capsys.readouterr()
    assert "recorded" in captured.out
    assert "pause: " in captured.err


def test_all_logs_of_a_directory_are_cut_in_one_pause(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write(LINES)
    place.configure(files=["log", "two"])
    (place.directory / "two").write_bytes(LINES)
    assert place.run("rotate") == 0
    assert [(place.directory / f"{name}.1").read_bytes() + (place.directory / name).read_bytes() for name in ("log", "two")] == [LINES, LINES]
    assert capsys.readouterr().err.count("pause: ") == 1


def test_json_has_what_was_done(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write(LINES)
    assert place.run("rotate", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], found["changed"]) == ("x", True)
    assert [step.partition(":")[0] for step in found["steps"]] == ["freeze", "journal", "cut", "pause", "archive"]


def test_wrong_mode_is_mended_in_the_window(place: Place) -> None:
    place.write(LINES)
    inodes.change(place.log, off=inodes.APPEND_ONLY)
    place.log.chmod(0o644)
    inodes.change(place.log, on=inodes.APPEND_ONLY)
    assert place.run("rotate") == 0
    assert place.log.stat().st_mode & 0o7777 == 0o600


class TestRejected:
    """Nothing changes, and the reason is printed."""

    def test_a_process_that_opened_it_in_the_moment_of_the_cut(
        self, place: Place, trail: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inode = place.write(LINES)
        monkeypatch.setattr(rotation, "writers", lambda _log: [Process(7, "thief", "/x", appends=False)] if place.archive.exists() else [])
        assert place.run("rotate") == 1
        assert "is held open for writing without O_APPEND, or mapped into memory, by thief (pid 7): stop it" in capsys.readouterr().err
        assert '"event": "log can be overwritten"' in trail.read_text()
        place.assert_complete(LINES, inode)

    def test_a_process_outside_the_units_that_writes(self, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
        place.write(LINES)
        with open(place.log, "ab") as log, subprocess.Popen(["sleep", "60"], stdout=log) as child:
            pass_on = child.pid
            log.close()
            try:
                assert place.run("rotate") == 1
                assert f"is held open for writing outside the units by sleep (pid {pass_on})" in capsys.readouterr().err
                assert place.log.read_bytes() == LINES
                assert list(place.aside.iterdir()) == []
            finally:
                child.kill()

    def test_a_process_that_could_open_the_log(self, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
        """A process of the group that holds nothing open could open the log in the moment in which it can be overwritten."""
        place.write(LINES)
        place.configure(group="daemon", mode="0660")
        stranger = subprocess.Popen(["sleep", "60"], user="nobody", group="nogroup", extra_groups=["daemon"])
        try:
            assert place.run("rotate") == 1
            assert f"could be opened by sleep (pid {stranger.pid}) outside the units, of root:daemon" in capsys.readouterr().err
            assert place.log.read_bytes() == LINES
        finally:
            stranger.kill()
            stranger.wait()
        assert place.run("rotate") == 0

    def test_another_command_that_does_not_end(self, place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        inode = place.write(LINES)
        monkeypatch.setattr(invocation, "LOCK_WAIT", 0.1)
        with locks.held("rotation-x", "recover"):
            assert place.run("rotate") == LockedError.exit_code
        assert "the rotation-x lock is held by " in capsys.readouterr().err
        place.assert_complete(LINES, inode)

    @pytest.mark.parametrize("wrong", ["{}", "[]", "x", '{"owner": "nobody-of-that-name"}', '{"mode": "rw"}'])
    def test_a_configuration_that_cannot_be_used(self, place: Place, wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
        if len(wrong) > 2:
            try:
                place.configure(**json.loads(wrong))
            except ValueError:
                place.config.write_text(wrong)
        else:
            place.config.write_text(wrong)
        assert place.run("rotate") == UsageError.exit_code
        assert "cannot be used" in capsys.readouterr().err

    def test_a_name_that_is_not_there(self, place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit import configuration

        monkeypatch.setattr(configuration, "FOLDER", place.directory)
        assert cli.main(["audit", "rotate", "--name", "../x"]) == UsageError.exit_code
        assert "there is no rotation '../x' on this host; there are: config" in capsys.readouterr().err
        place.write(LINES)
        assert cli.main(["audit", "rotate", "--name", "config"]) == 0

    def test_whoever_is_not_root(self, place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        assert place.run("rotate") == UsageError.exit_code
        assert "run it with sudo" in capsys.readouterr().err


def test_sigterm_ends_it_with_what_is_cleaned_up(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    inode = place.write(LINES)
    monkeypatch.setattr(segment.Copy, "tail", lambda _copy: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as end:
        place.run("rotate")
    assert end.value.code == InterruptedWork.exit_code
    place.assert_complete(LINES, inode)
