# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks: who holds one since when, a bounded wait, and no way for others to hold or redirect one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import locks
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import LockedError, NousVmError

Other = Callable[..., subprocess.Popen[bytes]]
PROGRAM = f"""
import sys
sys.path.insert(0, {str(Path(locks.__file__).parents[1])!r})
from pathlib import Path
from nous_vm import locks
locks.FOLDER = Path(sys.argv[1])
with locks.held("deployment", "deploy 1.2.3", who="alice"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(locks, "FOLDER", tmp_path / "nous-vm")
    return tmp_path / "nous-vm"


@pytest.fixture
def other(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock until its standard input is closed."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_held_and_let_go(folder: Path) -> None:
    assert locks.holder("deployment") is None
    with locks.held("deployment", "a test", who="bob"):
        assert re.fullmatch(rf"bob, a test, since \d\d:\d\d:\d\d UTC, process {os.getpid()}", locks.holder("deployment") or "")
    assert locks.holder("deployment") is None
    assert (folder.stat().st_mode & 0o777, (folder / "deployment.lock").stat().st_mode & 0o777) == (0o700, 0o600)


def test_another_process_is_told_who_holds_it_since_when(other: subprocess.Popen[bytes]) -> None:
    held_by = rf"alice, deploy 1\.2\.3, since \d\d:\d\d:\d\d UTC, process {other.pid}"
    assert re.fullmatch(held_by, locks.holder("deployment") or "")
    with pytest.raises(LockedError, match=f"^the deployment lock is held by {held_by}$"), locks.held("deployment", "a test"):
        raise AssertionError("two hold it")
    with locks.held("build", "a test"):
        pass


def test_the_wait_is_bounded(other: subprocess.Popen[bytes]) -> None:
    began = time.monotonic()
    with pytest.raises(LockedError), locks.held("deployment", "a test", wait=0.2):
        raise AssertionError("two hold it")
    assert 0.2 <= time.monotonic() - began < 10


def test_who_waits_gets_it(other: subprocess.Popen[bytes]) -> None:
    assert other.stdin is not None
    real = time.sleep

    def let_go(seconds: float) -> None:
        assert other.stdin is not None
        other.stdin.close()
        real(seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", let_go)
        with locks.held("deployment", "a test", wait=30, who="bob"):
            assert (locks.holder("deployment") or "").startswith("bob, a test, since ")


def test_a_holder_that_is_killed_holds_nothing(other: subprocess.Popen[bytes]) -> None:
    other.kill()
    other.wait()
    assert locks.holder("deployment") is None
    with locks.held("deployment", "a test"):
        pass


def test_a_failure_lets_go() -> None:
    with pytest.raises(ZeroDivisionError), locks.held("deployment", "a test"):
        raise ZeroDivisionError
    assert locks.holder("deployment") is None


def test_a_child_can_hold_it_too() -> None:
    with locks.held("deployment", "a test", who="bob") as descriptor:
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[descriptor])
    assert (locks.holder("deployment") or "").startswith("bob, ")
    child.communicate()
    assert locks.holder("deployment") is None


def test_a_name_is_printable() -> None:
    with locks.held("deployment", "x", who="\x1b[31m\nevil"):
        assert (locks.holder("deployment") or "").startswith("\\x1b[31m evil, x, since ")


def test_a_lock_without_a_name_is_held_by_somebody(folder: Path, other: subprocess.Popen[bytes]) -> None:
    os.truncate(folder / "deployment.lock", 0)
    assert locks.holder("deployment") == "somebody"


def test_a_folder_that_is_a_link_is_rejected(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NousVmError, match="is not a directory"), locks.held("deployment", "a test"):
        raise AssertionError("held")
    assert os.listdir(tmp_path / "elsewhere") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_a_folder_of_somebody_else_is_rejected(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    with pytest.raises(NousVmError, match="belongs to uid 12345"), locks.held("deployment", "a test"):
        raise AssertionError("held")


def test_a_lock_that_is_a_link_is_rejected(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / "deployment.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"), locks.held("deployment", "a test"):
        raise AssertionError("held")
    with pytest.raises(OSError, match="symbolic links"):
        locks.holder("deployment")
    assert not (tmp_path / "victim").exists()


def test_whoever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "alice")
    assert locks.whoever() == "alice"
    monkeypatch.delenv("SUDO_USER")
    monkeypatch.setattr(os, "getlogin", lambda: "bob")
    assert locks.whoever() == "bob"

    def no_terminal() -> str:
        raise OSError

    monkeypatch.setattr(os, "getlogin", no_terminal)
    monkeypatch.setenv("LOGNAME", "carol")
    assert locks.whoever() == "carol"
