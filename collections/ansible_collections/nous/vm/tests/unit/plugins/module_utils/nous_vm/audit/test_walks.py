# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Walks of a server through its archives, as the folder shows them: while one is under way, no name may change."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit import rotation, syscalls, walks
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.walks import Walks, watched
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.audit.place import LINES, Place


@pytest.fixture
def seen(tmp_path: Path) -> Iterator[Walks]:
    for name in ("log", "log.1", "log.2.gz"):
        (tmp_path / name).write_bytes(b"x")
    with watched(tmp_path, ["log"]) as found:
        yield found


def test_nobody_reads(seen: Walks) -> None:
    assert not seen.under_way()
    assert seen.wait(0)


def test_a_walk_is_over_when_the_log_is_closed(seen: Walks) -> None:
    os.listdir(seen.folder)
    assert seen.under_way()
    for name in ("log.2.gz", "log.1"):
        (seen.folder / name).read_bytes()
        assert seen.under_way(), "none is open, and the next one is to come"
    with open(seen.folder / "log", "rb"):
        assert seen.under_way()
    assert not seen.under_way()


def test_other_files_are_no_part_of_a_walk(seen: Walks) -> None:
    for name in ("anchors", "log.old", ".segment"):
        (seen.folder / name).write_bytes(b"x")
        (seen.folder / name).read_bytes()
    assert not seen.under_way()


def test_a_rotation_is_made_between_two_walks(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    inode = place.write(LINES)
    looks = [True, True, False]
    monkeypatch.setattr(rotation, "QUIET", -1)
    monkeypatch.setattr(Walks, "under_way", lambda _walks: looks.pop(0) if len(looks) > 1 else looks[0])
    assert place.run("rotate") == 0
    place.assert_complete(LINES, inode)


def test_who_appends_walks_nowhere(seen: Walks) -> None:
    os.listdir(seen.folder)
    with open(seen.folder / "log", "ab"):
        pass
    assert seen.under_way()


def test_a_walk_that_opens_nothing_more_is_over(seen: Walks, monkeypatch: pytest.MonkeyPatch) -> None:
    (seen.folder / "log.1").read_bytes()
    assert not seen.wait(0.05)
    monkeypatch.setattr(walks, "QUIET", 0.1)
    assert seen.wait(5)


def test_archives_that_are_open(seen: Walks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walks, "pids", lambda _cgroups: {os.getpid(), 1 << 30})
    with open(seen.folder / "log.1", "rb"), open(seen.folder / "log", "rb"):
        assert seen.holders(["/w"]) == ["log.1"]
    assert seen.holders(["/w"]) == []


@pytest.mark.parametrize("how", ["between two files", "open"])
def test_a_rotation_waits_for_it_and_gives_up(place: Place, how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    inode = place.write(LINES)
    monkeypatch.setattr(rotation, "AGAIN", 0)
    monkeypatch.setattr(rotation, "WALK", 0)
    monkeypatch.setattr(rotation, "QUIET", 0)
    monkeypatch.setattr(Walks, "under_way", lambda _walks: how == "between two files")
    monkeypatch.setattr(Walks, "holders", lambda _walks, _cgroups: ["log.1"] if how == "open" else [])
    assert place.run("rotate") == 1
    assert "given up 3 times in a row: the server is reading its archives, whenever" in capsys.readouterr().err
    place.assert_complete(LINES, inode)


def test_a_folder_that_is_not_there_cannot_be_watched(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot be watched") as failed:
        syscalls.watch(tmp_path / "none")
    assert failed.value.errno == errno.ENOENT


def test_space_is_reserved_behind_the_end(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    syscalls.reserve(descriptor, 0, 1 << 20)
    found = os.fstat(descriptor)
    assert (found.st_size, found.st_blocks) == (0, 2048)
    with pytest.raises(OSError, match="space cannot be reserved: Invalid argument"):
        syscalls.reserve(descriptor, 0, 0)
    os.close(descriptor)
