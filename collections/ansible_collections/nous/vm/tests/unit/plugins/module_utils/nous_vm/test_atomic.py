# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that appear as a whole or not at all, whenever the writer is killed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import atomic
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError

DEAD = 4194305  # above the largest number that a process can have


def test_a_file_with_its_mode_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a"
    atomic.write(path, b"one")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"one", 0o600)
    atomic.write(path, b"two", 0o644, (os.geteuid(), os.getegid()), 1000.0)
    found = path.stat()
    assert (path.read_bytes(), stat.S_IMODE(found.st_mode), found.st_mtime) == (b"two", 0o644, 1000.0)
    assert os.listdir(tmp_path) == ["a"]


def test_its_owner_is_set_before_its_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an account that is not meant could read it for a moment."""
    steps: list[tuple[str, object]] = []
    monkeypatch.setattr(os, "fchown", lambda _descriptor, uid, gid: steps.append(("owner", (uid, gid))))
    monkeypatch.setattr(os, "fchmod", lambda _descriptor, mode: steps.append(("mode", mode)))
    atomic.write(tmp_path / "a", b"", 0o640, (1, 2))
    assert steps == [("owner", (1, 2)), ("mode", 0o640)]


@pytest.mark.parametrize("step", ["fchmod", "fsync", "rename"])
def test_a_writer_that_is_killed_leaves_the_old(tmp_path: Path, step: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    script = f"""
import os, pathlib, signal, sys
sys.path.insert(0, {str(Path(atomic.__file__).parents[1])!r})
from nous_vm import atomic
def kill(*_arguments, **_options):
    os.kill(os.getpid(), signal.SIGKILL)
os.{step} = kill
pathlib.Path.replace = kill
atomic.write(pathlib.Path({str(path)!r}), b"new")
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    assert path.read_bytes() == b"old"
    assert len(os.listdir(tmp_path)) == 2
    atomic.write(path, b"newer")
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"newer", ["a"])


def test_a_writer_that_fails_leaves_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        atomic.write(tmp_path / "a", b"new")
    assert ((tmp_path / "a").read_bytes(), os.listdir(tmp_path)) == (b"old", ["a"])


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    """What one has not finished, the other neither moves into place nor removes."""
    path, other = tmp_path / "a", tmp_path / f".a.{os.getppid()}.new"
    other.write_bytes(b"half")
    dead = tmp_path / f".a.{DEAD}.new"
    dead.write_bytes(b"left by one that was killed")
    unrelated = tmp_path / f".ab.{DEAD}.new"
    unrelated.touch()
    atomic.write(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert (other.read_bytes(), dead.exists(), unrelated.exists()) == (b"half", False, True)


def test_many_writers_at_once(tmp_path: Path) -> None:
    contents = [str(number).encode() * 5000 for number in range(6)]
    children = []
    for content in contents:
        if not (pid := os.fork()):
            try:
                for _round in range(30):
                    atomic.write(tmp_path / "a", content)
                os._exit(0)
            finally:
                os._exit(1)
        children.append(pid)
    deadline = time.monotonic() + 60
    while children and time.monotonic() < deadline:
        if (tmp_path / "a").exists():
            assert (tmp_path / "a").read_bytes() in contents
        for pid in [*children]:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                assert status == 0
                children.remove(pid)
    assert children == []
    assert os.listdir(tmp_path) == ["a"]


def test_a_link_that_was_planted_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / "a").symlink_to(victim)
    (tmp_path / f".a.{os.getpid()}.new").symlink_to(victim)
    atomic.write(tmp_path / "a", b"new")
    assert (victim.read_bytes(), (tmp_path / "a").is_symlink()) == (b"mine", False)


def test_symlink(tmp_path: Path) -> None:
    for target in ("one", "two"):
        atomic.symlink(tmp_path / "link", target)
        assert os.readlink(tmp_path / "link") == target
    assert os.listdir(tmp_path) == ["link"]


def test_json(tmp_path: Path) -> None:
    path = tmp_path / "a"
    atomic.write_json(path, {"b": 1, "a": [2]}, 0o640)
    assert path.read_text(encoding="utf-8") == '{\n    "a": [\n        2\n    ],\n    "b": 1\n}\n'
    assert atomic.read_json(path) == {"a": [2], "b": 1}


@pytest.mark.parametrize("content", [None, b"", b'{"a":', b"3", b"\xff"])
def test_json_that_is_absent_or_incomplete_is_nothing(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a").write_bytes(content)
    assert atomic.read_json(tmp_path / "a") == {}


class Pair(NamedTuple):
    a: int
    b: int = 2


@pytest.mark.parametrize(("content", "found"), [(None, None), (b"{", None), (b'{"b": 1}', None), (b'{"a": 1, "c": 3}', None), (b'{"a": 1}', Pair(1))])
def test_json_as_a_named_tuple(tmp_path: Path, content: bytes | None, found: Pair | None) -> None:
    if content is not None:
        (tmp_path / "a").write_bytes(content)
    assert atomic.read_as(Pair, tmp_path / "a") == found


# ---- Directories


def test_a_directory_of_ones_own(tmp_path: Path) -> None:
    for _round in range(2):
        descriptor = atomic.own_directory(tmp_path / "d", 0o750)
        assert os.path.samestat(os.fstat(descriptor), (tmp_path / "d").stat())
        os.close(descriptor)
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) & ~0o750 == 0


@pytest.mark.parametrize("kind", ["link", "file", "writable"])
def test_a_directory_that_others_could_change_is_rejected(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "d"
    if kind == "link":
        (tmp_path / "elsewhere").mkdir()
        path.symlink_to(tmp_path / "elsewhere")
    elif kind == "file":
        path.touch()
    else:
        path.mkdir()
        path.chmod(0o770)
    with pytest.raises(NousVmError, match=r"move it away$"):
        atomic.own_directory(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_a_directory_of_somebody_else_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir(mode=0o700)
    os.chown(tmp_path / "d", 12345, 12345)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NousVmError, match="belongs to uid 12345 with mode 0700"):
        atomic.own_directory(tmp_path / "d")
    assert len(os.listdir("/proc/self/fd")) == before
