# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who was denied, by a log in which strangers and a Caddy that was taken over write what they like."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.foreign import open_file
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import denials

NOW = 1_800_000_000.0


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(denials, "FOLDER", tmp_path)
    return tmp_path


def entry(address: str = "203.0.113.5", when: object = NOW, denied: object = "address", **request: Any) -> bytes:
    known = {"remote_ip": address, "method": "GET", "host": "nous.example.org", "uri": "/token"} | request
    return json.dumps({"level": "debug", "ts": when, "msg": denied, "request": known, "status": 403}, separators=(",", ":")).encode() + b"\n"


def write(path: Path, *lines: bytes, age: float = 0) -> None:
    content = b"".join(lines)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    os.utime(path, (NOW - age, NOW - age))


def counted(since: float = NOW - 3600) -> dict[str, int]:
    found = denials.denied_since(since)
    assert found.unreadable == []
    return {address: times for address, (times, _last) in found.addresses.items()}


def test_nobody() -> None:
    assert counted() == {}


def test_by_address_the_busiest_first(folder: Path) -> None:
    write(folder / "denied.log", entry("203.0.113.9"), entry(uri="/last"), entry(denied=""))
    write(folder / "denied-2026.log.gz", entry(), entry(), age=60)
    found = denials.denied_since(NOW - 3600).addresses
    assert list(found) == ["203.0.113.5", "203.0.113.9"]
    times, last = found["203.0.113.5"]
    assert (times, last.target, last.method, last.reason) == (3, "nous.example.org/last", "GET", "address")
    assert denials.shown("203.0.113.5", times, last).startswith("203.0.113.5 ")
    assert denials.shown("203.0.113.5", times, last).endswith(": GET nous.example.org/last (address)")


def test_beside_other_sites_it_is_the_access_log(folder: Path) -> None:
    """Of a gateway that has no global block: the reason is a field of its own, empty for who was let in."""
    lines = [entry().replace(b'"msg":"address"', each) for each in (b'"msg":"handled request","denied":"address"', b'"msg":"handled request","denied":""')]
    write(folder / "access.caddy_gateway.log", *lines)
    write(folder / "access.log", entry())
    assert counted() == {"203.0.113.5": 1}


def test_what_is_older_is_left_out(folder: Path) -> None:
    write(folder / "denied.log", entry(when=NOW - 3601), entry(when=NOW - 3599))
    write(folder / "denied-old.log", entry(), age=3601)
    assert counted() == {"203.0.113.5": 1}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"null\n",
        b"[]\n",
        b"[" * 5000 + b"\n",
        b'{"msg":"address","status":403}\n',
        b'{"msg":"address","status":403,"ts":1,"request":[]}\n',
        b'{"msg":"address","status":403,"ts":1,"request":null}\n',
        entry().replace(b"403", b"502"),
        entry().replace(b"403", b"null"),
        entry(when="now"),
        entry(when=None),
        entry(denied=None),
        b"\xff\xfe\n",
        b'{"msg":"address", "x":"' + b"x" * 300_000 + b'"}\n',
    ],
)
def test_a_line_that_is_no_denial_is_passed_over(folder: Path, line: bytes) -> None:
    write(folder / "denied.log", entry(), line + b"\n", entry())
    assert counted() == {"203.0.113.5": 2}


def test_what_strangers_chose_is_printed_as_printable_characters(folder: Path) -> None:
    hostile = "/\u009b31m\u202etxt\u0085\x1b]0;title\x07\nroot was denied"
    write(folder / "denied.log", entry("203.0.113.5\u009b", method="G\u009dT", host="\u202e", uri=hostile, denied="a\x1b"))
    [(address, (times, last))] = denials.denied_since(NOW - 3600).addresses.items()
    line = denials.shown(address, times, last)
    assert line.isprintable(), line
    assert r"\x9b31m\u202etxt" in line and r"\x1b]0;title\x07 root was denied" in line


def test_one_that_is_very_long_is_cut(folder: Path) -> None:
    write(folder / "denied.log", entry(uri="/" + "x" * 20_000))
    [(_times, last)] = denials.denied_since(NOW - 3600).addresses.values()
    assert len(last.target) == 500 and last.target.endswith("...")


def test_addresses_fit_into_little_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denials, "ADDRESSES", 2)
    write(folder / "denied.log", *(entry(f"203.0.113.{number}") for number in (1, 2, 3, 4, 1)))
    assert counted() == {"203.0.113.1": 2, "others": 2, "203.0.113.2": 1}


@pytest.mark.parametrize("name", ["denied.log", "denied-2026.log.gz"])
@pytest.mark.parametrize("kind", ["fifo", "link", "folder", "large"])
def test_what_is_no_log_is_named_and_hangs_nothing(folder: Path, name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FIFO made the check hang."""
    monkeypatch.setattr(denials, "FILE", 1000)
    path = folder / name
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/etc/passwd")
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(os.urandom(1001))
    os.utime(path, (NOW, NOW), follow_symlinks=False)
    write(folder / "denied-1.log", entry())
    found = denials.denied_since(NOW - 3600)
    assert list(found.addresses) == ["203.0.113.5"]
    assert len(found.unreadable) == 1 and name in found.unreadable[0]


def test_an_archive_that_is_not_complete_counts_as_far_as_it_goes(folder: Path) -> None:
    packed = gzip.compress(b"".join(entry() + os.urandom(2000).hex().encode() + b"\n" for _line in range(50)))
    (folder / "denied-1.log.gz").write_bytes(packed[: len(packed) // 2])
    (folder / "denied-2.log.gz").write_bytes(packed[:500] + bytes(100) + packed[600:])
    for path in folder.iterdir():
        os.utime(path, (NOW, NOW))
    assert counted()["203.0.113.5"] > 10


def test_what_is_no_archive_is_named(folder: Path) -> None:
    (folder / "denied-1.log.gz").write_bytes(entry())
    assert "Not a gzipped file" in denials.denied_since(0).unreadable[0]


def test_an_archive_that_grows_without_end_is_read_to_a_limit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denials, "FILE", 100 * len(entry()))
    write(folder / "denied-1.log.gz", *(entry() for _line in range(10_000)))
    assert counted() == {"203.0.113.5": 100}


def test_a_file_that_caddy_renames_meanwhile(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / "denied.log", entry())
    write(folder / "denied-1.log", entry())

    def gone(path: Path, limit: int) -> Any:
        path.unlink()
        return open_file(path, limit)

    monkeypatch.setattr(denials, "open_file", gone)
    assert counted() == {}
    monkeypatch.setattr(Path, "glob", lambda self, _pattern: iter([self / "denied.log"]))
    assert counted() == {}


def test_that_no_more_can_wait_is_counted() -> None:
    line = entry(denied="dial unix /run/nous-proxy/mcp.sock: connect: resource temporarily unavailable").replace(b"403", b"502")
    found = denials.parsed(line)
    assert found and found.reason == "full"
