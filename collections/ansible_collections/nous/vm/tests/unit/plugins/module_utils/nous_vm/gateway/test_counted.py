# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who was denied is counted, and the record of it is bounded whatever comes."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import locks
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import configuration, counted, denials
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway.commands import gate_count

NOW = 1_800_000_000.0
PARAMETERS = {"config": "/etc/caddy/Caddyfile", "hostname": "h", "cidrs": [], "public_paths": [], "limits": True, "score": None, "denied_days": 2}


class Log:
    """Caddy's log of who was denied, and the time."""

    def __init__(self, folder: Path) -> None:
        self.path, self.now = folder / "denied.log", NOW

    def denied(self, address: str, times: int = 1, uri: str = "/token") -> None:
        request = {"remote_ip": address, "method": "GET", "host": "nous.example.org", "uri": uri}
        line = json.dumps({"level": "debug", "ts": self.now - 3, "msg": "address", "request": request, "status": 403}, separators=(",", ":")) + "\n"
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line * times)
        os.utime(self.path, (self.now, self.now))

    def count(self, after: float = 60) -> int:
        found: int = gate_count.run(argparse.Namespace()).document["lines"]
        if found:
            os.utime(counted.FOLDER / counted.NAME, (self.now, self.now))
        self.now += after
        return found


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    for name in ("caddy", "record"):
        (tmp_path / name).mkdir()
    made = Log(tmp_path / "caddy")
    monkeypatch.setattr(denials, "FOLDER", tmp_path / "caddy")
    monkeypatch.setattr(counted, "FOLDER", tmp_path / "record")
    monkeypatch.setattr(configuration, "PARAMETERS", tmp_path / "gateway.json")
    monkeypatch.setattr(locks, "FOLDER", tmp_path / "locks")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(counted, "own_directory", lambda path, _mode: os.open(path, os.O_RDONLY))
    monkeypatch.setattr(time, "time", lambda: made.now)
    (tmp_path / "gateway.json").write_text(json.dumps(PARAMETERS), encoding="utf-8")
    return made


def known(since: float = 0) -> dict[str, int]:
    return {address: times for address, (times, _last) in counted.denied_since(since).addresses.items()}


def test_it_is_counted_once_and_outlasts_the_log(log: Log) -> None:
    log.denied("203.0.113.5", 3)
    log.denied("203.0.113.6", uri="/\u009b")
    assert log.count() == 2
    assert known() == {"203.0.113.5": 3, "203.0.113.6": 1}
    assert log.count() == 0, "nothing came"
    log.denied("203.0.113.5", 2)
    assert known() == {"203.0.113.5": 5, "203.0.113.6": 1}, "what is not counted yet is in Caddy's log"
    assert log.count() == 1
    log.path.write_text("", encoding="utf-8")  # somebody went round the ring
    assert known() == {"203.0.113.5": 5, "203.0.113.6": 1}
    assert known(NOW + 90) == {"203.0.113.5": 2}
    assert counted.denied_since(0).addresses["203.0.113.6"][1].target == r"nous.example.org/\x9b"
    assert (counted.FOLDER / counted.NAME).read_bytes().isascii()


def test_a_minute_has_so_many_lines(log: Log) -> None:
    for number in range(200):
        log.denied(f"198.51.100.{number}", 1 + (number == 7))
    assert log.count() == counted.ADDRESSES + 1
    found = known()
    assert (len(found), found["198.51.100.7"], found[denials.OTHERS], sum(found.values())) == (51, 2, 150, 201)


def test_the_files_are_bounded_in_size_number_and_age(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counted, "SIZE", 1000)
    for _minute in range(40):
        log.denied("203.0.113.5")
        assert log.count() == 1
    names = sorted(path.name for path in counted.FOLDER.iterdir())
    assert names == [counted.NAME, *(f"{counted.NAME}.{number}" for number in (1, 2, 3))]
    assert max(path.stat().st_size for path in counted.FOLDER.iterdir()) < 1400
    assert 12 < known()["203.0.113.5"] < 40
    for path in counted.FOLDER.iterdir():
        os.utime(path, (log.now - 3 * 86400, log.now - 3 * 86400))
    log.count()
    assert known() == {"203.0.113.5": 40}, "only what Caddy's own log still has"


def test_a_line_that_was_cut_is_left_out(log: Log) -> None:
    log.denied("203.0.113.5")
    log.count()
    path = counted.FOLDER / counted.NAME
    path.write_bytes(path.read_bytes() + b'{"until": 18')
    os.utime(path, (log.now, log.now))
    log.denied("203.0.113.5")
    assert known() == {"203.0.113.5": 2}
    log.count()
    log.path.write_text("", encoding="utf-8")
    assert known() == {"203.0.113.5": 2}, "the line is not joined to what was cut"


def test_lines_that_are_older_are_not_parsed(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    log.denied("203.0.113.5", 50)
    log.count()
    log.denied("203.0.113.5", 2)
    before = [f'"ts":{NOW - 3}'.encode()]
    whole = denials.parsed

    def parsed(line: bytes) -> denials.Denial | None:
        assert before[0] not in line
        return whole(line)

    monkeypatch.setattr(denials, "parsed", parsed)
    assert log.count() == 1
    assert known() == {"203.0.113.5": 52}


def test_only_root(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="run it with sudo"):
        log.count()
