# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Foreign text and files: nothing that is not printable gets through, nothing that is not a small regular file is opened."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import foreign
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import ForeignError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.foreign import open_file, parse_json, printable, read_file, read_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain äß €", "plain äß €"),
        ("two\nlines\tand\x0ba\x85bit", "two lines and a bit"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b2J", "\\x9b2J"),
        ("abc\u202ecba", "abc\\u202ecba"),
        ("\x07\x00\x7f", "\\x07\\x00\\x7f"),
        ("\ud800", "\\ud800"),
        (b"\xff\x1b]0;x", "\ufffd\\x1b]0;x"),
        ("", ""),
    ],
)
def test_printable(text: str | bytes, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text).isprintable()


@pytest.mark.parametrize("text", ["x" * 10_000_000, "\x1b" * 10_000_000, b"\xc3" * 10_000_000, " " * 10_000_000 + "x"])
def test_printable_is_bounded(text: str | bytes) -> None:
    assert len(printable(text, 20)) <= 20
    assert len(printable(text)) <= foreign.LINE


def test_what_is_cut_ends_in_dots() -> None:
    assert printable("0123456789", 10) == "0123456789"
    assert printable("0123456789a", 10) == "0123456..."


@pytest.fixture(autouse=True)
def no_hanging() -> object:
    """A FIFO that is opened hangs for ever; then the test fails instead."""

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        raise AssertionError("it hangs")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


def test_a_regular_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 10)
    assert read_file(path, 10) == b"x" * 10
    assert read_file(str(path)) == b"x" * 10


def test_what_is_not_a_regular_file_is_rejected(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "dangling").symlink_to(tmp_path / "none")
    for name in ("fifo", tmp_path, "/dev/null", "/dev/zero"):
        with pytest.raises(ForeignError, match=r"is not a regular file$"):
            read_file(tmp_path / name)
    for name in ("link", "dangling"):
        with pytest.raises(OSError, match="symbolic links"):
            read_file(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "absent")


def test_a_file_that_is_too_large_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "large\x1b[31m"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(ForeignError, match=r"large\\x1b\[31m has 1099511627776 bytes; at most 1048576 are read$"):
        read_file(path)


def test_a_file_that_grows_meanwhile_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 10)
    real = os.fstat

    def grows(descriptor: int) -> os.stat_result:
        found = real(descriptor)
        path.write_bytes(b"x" * 11)
        return found

    monkeypatch.setattr(os, "fstat", grows)
    with pytest.raises(ForeignError, match=r"has more than 10 bytes$"):
        read_file(path, 10)


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for path in (tmp_path, Path("/dev/null")):
        with pytest.raises(ForeignError):
            open_file(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text('{"a": 1}', encoding="utf-8")
    assert read_json(path) == {"a": 1}
    assert parse_json(b'{"a": 1}', "x") == {"a": 1}


@pytest.mark.parametrize("content", ["", "{", "[1]", "1", "null", "[" * 100_000, '{"a": "\x1b"}', "\ud800"])
def test_what_is_no_json_object_is_rejected(content: str) -> None:
    with pytest.raises(ForeignError, match=r"^name\\x1b is not (JSON: .*|a JSON object)$") as caught:
        parse_json(content, "name\x1b")
    assert str(caught.value).isprintable()


def test_bytes_that_are_not_utf_8_are_no_json() -> None:
    with pytest.raises(ForeignError, match=r"^x is not JSON: "):
        parse_json(b'{"a": "\xff"}', "x")
