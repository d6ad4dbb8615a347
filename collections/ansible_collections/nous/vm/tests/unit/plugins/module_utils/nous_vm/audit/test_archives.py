# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archives of a log: their names, what is compressed and what is removed; and nous-vm audit status."""

from __future__ import annotations

import gzip
import io
import json

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import inodes
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.audit.place import LINES, Place


def names(place: Place) -> list[str]:
    return [path.name for path in place.archives()]


def test_the_newest_is_plain_the_others_are_compressed_and_the_oldest_goes(place: Place) -> None:
    """Three are kept. Each was a file of its own before, and its records are in it still."""
    inode = place.write(b"")
    parts = [b"".join(b"%d %d\n" % (part, line) for line in range(100)) for part in range(6)]
    for part in parts:
        place.append(part)
        assert place.run("rotate") == 0
    assert names(place) == ["log.1", "log.2.gz", "log.3.gz"]
    whole = b"".join(parts)
    place.assert_complete(whole[len(whole) - len(place.content()) :], inode)
    assert place.content().startswith(b"2 99\n3 0\n")  # a record of each part stayed behind it, and begins the next


def test_without_compression_they_are_renamed(place: Place) -> None:
    place.configure(compress=False)
    place.write(b"")
    for part in range(3):
        place.append(b"a %d\nb %d\n" % (part, part))
        assert place.run("rotate") == 0
    assert names(place) == ["log.1", "log.2", "log.3"]


def test_what_is_beyond_a_lower_retention_is_removed(place: Place) -> None:
    place.configure(keep=1)
    place.write(LINES)
    for name in ("log.1", "log.2.gz", "log.10.gz"):
        (place.directory / name).write_bytes(b"x")
    assert place.run("rotate") == 0
    assert names(place) == ["log.1"]
    assert place.content() == LINES


def test_an_archive_that_cannot_be_compressed_whole_stays(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    inode = place.write(LINES)
    assert place.run("rotate") == 0
    place.append(LINES)
    monkeypatch.setattr(gzip, "open", lambda _path: io.BytesIO(b""))
    assert place.run("rotate") == 1
    assert "log.packed does not hold what" in capsys.readouterr().err
    monkeypatch.undo()
    assert names(place) == ["log.1"]
    place.assert_complete(LINES + LINES, inode)


def test_two_archives_of_one_number_are_both_kept(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write(LINES)
    (place.directory / "log.1").write_bytes(LINES)
    (place.directory / "log.1.gz").write_bytes(gzip.compress(b"other\n"))
    assert place.run("rotate") == 1
    assert "log.1.gz and another archive have the same number: move one of them away" in capsys.readouterr().err
    assert sorted(names(place)) == ["log.1", "log.1.gz"]


def test_what_is_no_archive_is_left_alone(place: Place) -> None:
    place.write(LINES)
    for name in ("log.10.gz", "log.old"):
        (place.directory / name).write_bytes(b"x")
    assert place.run("recover") == 0
    assert inodes.flags(place.directory / "log.10.gz") & inodes.IMMUTABLE
    assert not inodes.flags(place.directory / "log.old") & inodes.IMMUTABLE


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
    place.killed_within_the_cut()
    assert place.run("status") == 1
    assert "log.journal is to be completed by recover" in capsys.readouterr().out
    assert place.run("recover") == 0
    assert place.run("status") == 0
