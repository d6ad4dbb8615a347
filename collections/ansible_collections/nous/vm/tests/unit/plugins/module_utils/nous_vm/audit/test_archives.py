# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archives of a log: unlocked for logrotate, protected again, and what a killed logrotate left of them; and nous-vm audit status."""

from __future__ import annotations

import gzip
import json

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import inodes
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.audit.place import LINES, Place


def test_archives_are_unlocked_and_protected_again(place: Place) -> None:
    place.write(LINES)
    archives = [place.directory / name for name in ("log.1", "log.2.gz", "log.10.gz")]
    for archive in [*archives, place.directory / "log.old"]:
        archive.write_bytes(b"x")
    assert place.run("recover") == 0
    assert all(inodes.flags(archive) & inodes.IMMUTABLE and archive.stat().st_mode & 0o7777 == 0o440 for archive in archives)
    assert not inodes.flags(place.directory / "log.old") & inodes.IMMUTABLE
    assert place.run("unlock") == 0
    assert not any(inodes.flags(archive) & inodes.IMMUTABLE for archive in archives)


@pytest.mark.parametrize("end", [0, 5, 40, None], ids=lambda end: f"to byte {end}")
def test_what_a_killed_logrotate_compressed_by_half_is_removed(place: Place, end: int | None) -> None:
    place.write(LINES)
    (place.directory / "log.1").write_bytes(LINES)
    (place.directory / "log.1.gz").write_bytes(gzip.compress(LINES)[:end])
    assert place.run("recover") == 0
    assert (place.directory / "log.1").read_bytes() == LINES
    assert not (place.directory / "log.1.gz").exists()


def test_two_archives_of_one_number_that_differ_are_both_kept(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write(LINES)
    (place.directory / "log.1").write_bytes(LINES)
    (place.directory / "log.1.gz").write_bytes(gzip.compress(b"other\n"))
    assert place.run("rotate") == 1
    assert "holds other records than" in capsys.readouterr().err
    assert (place.directory / "log.1.gz").exists()
    assert place.content() == LINES


def test_status_names_what_is_wrong(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write(LINES)
    assert place.run("status") == 0
    assert f"{place.log}: {len(LINES)} bytes, 0 archives; writers: none" in capsys.readouterr().out
    inodes.change(place.log, off=inodes.APPEND_ONLY)
    (place.directory / "log.1").write_bytes(LINES)
    assert place.run("status", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["problems"] == [f"{place.log} is not append-only", "not immutable: log.1"]
    assert (found["healthy"], found["message"]) == (False, "; ".join(found["problems"]))
    assert found["logs"] == [{"path": str(place.log), "bytes": len(LINES), "archives": 1, "writers": []}]
    assert place.run("recover") == 0
    assert place.run("status") == 0


def test_status_names_what_a_rotation_left(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write(LINES)
    place.killed_with_journal()
    assert place.run("status") == 1
    assert "log.journal is to be completed by recover" in capsys.readouterr().out
    assert place.run("recover") == 0
    assert place.run("status") == 1
    assert "log is not archived yet" in capsys.readouterr().out
