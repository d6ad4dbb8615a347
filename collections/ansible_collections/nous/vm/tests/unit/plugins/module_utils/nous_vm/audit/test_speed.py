# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How large a log may become before its cut takes too long."""

from __future__ import annotations

import errno
import json

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit import segment, speed
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.configuration import load
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.log import Log
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.audit.place import LINES, Place


@pytest.mark.parametrize(
    ("size", "milliseconds", "largest"),
    [(1 << 29, 300.0, 1 << 29), (1 << 29, 1.0, speed.MOST), (1 << 25, 9000.0, speed.LEAST), (speed.TOLD - 1, 9000.0, speed.MOST)],
)
def test_a_cut_tells_how_large_a_log_may_become(place: Place, size: int, milliseconds: float, largest: int) -> None:
    place.write(LINES)
    assert place.run("rotate") == 0
    log = Log(load(place.config), "log")
    speed.learn(log, size, milliseconds)
    assert speed.largest(log) == largest
    assert log.left_over() == []


def test_the_cut_of_a_large_log_is_timed(place: Place, trail: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "TOLD", 1000)
    monkeypatch.setattr(segment, "SMALL_TAIL", 1000)
    monkeypatch.setattr(segment, "LARGE", 1000)
    place.write(LINES)
    assert place.run("rotate") == 0
    found = json.loads((place.aside / "log.speed").read_bytes())
    assert found["bytes"] == LINES.rindex(b"{")
    assert found["milliseconds"] > 0


@pytest.mark.parametrize(("number", "code"), [(errno.EOPNOTSUPP, 0), (errno.ENOSPC, 1)])
def test_room_for_the_copy_is_reserved_where_that_can_be(
    place: Place, number: int, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def reserve(_descriptor: int, _start: int, _size: int) -> None:
        raise OSError(number, "space cannot be reserved: it is so")

    inode = place.write(LINES)
    monkeypatch.setattr(segment, "reserve", reserve)
    assert place.run("rotate") == code
    assert ("it is so" in capsys.readouterr().err) == bool(code)
    place.assert_complete(LINES, inode)
