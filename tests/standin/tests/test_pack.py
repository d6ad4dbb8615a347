# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases made of the stand-in: whole, broken on purpose, the same every time."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from conftest import Server

PACK = Path(__file__).resolve().parents[1] / "pack.py"


def pack(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, PACK, *arguments], check=True)


@pytest.fixture
def release(make_server: Callable[..., Server], tmp_path: Path) -> Callable[..., Server]:
    def make(*arguments: str) -> Server:
        pack(*arguments, tmp_path / "out.tar.gz")
        with tarfile.open(tmp_path / "out.tar.gz") as tar:
            tar.extractall(tmp_path, filter="data")
        (top,) = tmp_path.glob("nous-*")
        return make_server(source=top / "src")

    return make


def test_whole_release_knows_its_version(release: Callable[..., Server]) -> None:
    server = release("--version", "2.3.4").start()
    assert server.call("status")["version"] == "2.3.4"


def test_crash_ends_it_at_start(release: Callable[..., Server]) -> None:
    ended = release("--fault", "crash").run("serve")
    assert ended.returncode == 1
    assert "broken on purpose" in ended.stderr


def test_hang_lives_and_never_listens(release: Callable[..., Server]) -> None:
    server = release("--fault", "hang")
    server.spawn()
    with pytest.raises(subprocess.TimeoutExpired):
        server.process.wait(3)
    with pytest.raises(httpx.ConnectError):
        server.post()
    assert server.run("flush").returncode == 0


def test_error_answers_500_to_everything(release: Callable[..., Server]) -> None:
    server = release("--fault", "error").start()
    asked = [server.post(), *(httpx.get(server.url + path) for path in ("/", "/authorize", "/.well-known/x"))]
    assert {answer.status_code for answer in asked} == {500}


def test_archive_holds_what_an_installer_needs_and_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a.tar.gz", "b.tar.gz"):
        pack("--version", "1.1.0", tmp_path / name)
    packed = (tmp_path / "a.tar.gz").read_bytes()
    assert packed == (tmp_path / "b.tar.gz").read_bytes()
    assert packed[4:8] == bytes(4), "RFC 1952: the time of packing"
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        names = set(tar.getnames())
    wanted = {"pyproject.toml", "uv.lock", "profiles/jetson-agx-orin.yaml", "src/nous/__main__.py"}
    assert {f"nous-1.1.0/{name}" for name in wanted} <= names


def test_repository_is_the_same_each_time_and_takes_further_releases(tmp_path: Path) -> None:
    def git(repository: Path, *arguments: str) -> str:
        return subprocess.check_output(["git", f"--git-dir={repository}", *arguments], text=True).strip()

    for name in ("a.git", "b.git"):
        pack("--git", "--version", "1.1.0", tmp_path / name)
        pack("--git", "--version", "1.2.0", "--fault", "crash", tmp_path / name)
    assert git(tmp_path / "a.git", "rev-parse", "main") == git(tmp_path / "b.git", "rev-parse", "v1.2.0")
    assert git(tmp_path / "a.git", "show", "v1.1.0:src/nous/release.py") == 'VERSION = "1.1.0"\nFAULT = "none"'
    assert git(tmp_path / "a.git", "show", "v1.2.0:src/nous/release.py") == 'VERSION = "1.2.0"\nFAULT = "crash"'
