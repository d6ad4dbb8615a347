# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the last record of a log begins, and how much is read to find it."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import foreign
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit import records
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.audit.place import LINES, Place


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("search", [1, 2, 3, 1 << 16], ids=lambda size: f"blocks of {size}")
@pytest.mark.parametrize(
    ("content", "offset"),
    [(b"", 0), (b"a", 0), (b"a\n", 0), (b"a\nb", 0), (b"a\nb\n", 2), (b"a\nbcd\nefghi", 2), (b"\n", 0), (b"\n\n", 1), (b"\n\n\n", 2), (b"aaaa\nb\n", 5)],
    ids=repr,
)
def test_offset(opened: int, monkeypatch: pytest.MonkeyPatch, content: bytes, offset: int, search: int) -> None:
    monkeypatch.setattr(foreign, "SEARCH", search)
    os.write(opened, content)
    assert records.last_record(opened, len(content)) == offset


def test_a_log_without_line_ends_is_searched_in_one_go_and_little_memory(opened: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that was searched was kept and searched again with each block: 177 s for 100 MB, while the service was frozen."""
    size = 16 << 20
    monkeypatch.setattr(records, "LIMIT", size)
    os.write(opened, b"a\nb\n")
    os.ftruncate(opened, size)
    pread, read = os.pread, []

    def counted(descriptor: int, length: int, offset: int) -> bytes:
        read.append(length)
        return pread(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    tracemalloc.start()
    try:
        assert records.last_record(opened, size) == 2
        assert tracemalloc.get_traced_memory()[1] < 4 * foreign.SEARCH
    finally:
        tracemalloc.stop()
    assert sum(read) <= size + foreign.SEARCH


def test_a_record_that_is_too_large_is_rejected_with_its_size_before_anything_is_frozen(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.log.write_bytes(LINES)
    os.truncate(place.log, 10 * records.LIMIT)
    assert place.run("rotate") == 1
    message = capsys.readouterr().err
    assert f"has {10 * records.LIMIT - LINES.rindex(b'{')} bytes; at most {records.LIMIT} can stay in the log" in message
    assert "freeze: " not in message


def test_one_that_is_larger_than_what_is_searched_is_at_least_so_large(opened: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "FURTHER", 2 * records.LIMIT)
    os.write(opened, b"a\nb\n")
    os.ftruncate(opened, 10 * records.LIMIT)
    with pytest.raises(NousVmError, match=r"has at least 2[0-9]{6} bytes"):
        records.last_record(opened, 10 * records.LIMIT)


def test_what_was_cut_meanwhile_is_an_error(opened: int) -> None:
    os.write(opened, b"abc")
    assert b"".join(records.read_range(opened, 1, 3)) == b"bc"
    with pytest.raises(NousVmError, match="the log ends at byte 3, before byte 5: somebody cut it"):
        list(records.read_range(opened, 1, 5))
