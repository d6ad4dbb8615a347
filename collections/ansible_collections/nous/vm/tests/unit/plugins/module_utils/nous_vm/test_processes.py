# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's processes: who holds a file open for writing, and who has an account's rights."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import processes
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError

ACCOUNT = 54321


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file. Of other processes than this one's children, only a host's root can see what they hold open."""
    real = processes.pids
    monkeypatch.setattr(processes, "pids", lambda: [pid for pid in real() if Path(f"/proc/{pid}/status").exists() and parent(pid) == os.getpid()])
    path = tmp_path / "log"
    path.touch()
    return path


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])


def opened(log: Path, mode: str, **identity: int) -> subprocess.Popen[bytes]:
    with log.open(mode) as file:
        return subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file, **identity)  # type: ignore[call-overload,no-any-return]


@pytest.fixture
def child(log: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    with opened(log, request.param) as process:
        yield process
        process.kill()


@pytest.mark.parametrize(("child", "appends"), [("ab", True), ("r+b", False)], indirect=["child"])
def test_writers(log: Path, child: subprocess.Popen[bytes], appends: bool) -> None:
    (writer,) = processes.writers(log)
    assert (writer.pid, writer.name, writer.appends, str(writer)) == (child.pid, "cat", appends, f"cat (pid {child.pid})")
    assert writer.cgroup == processes.cgroup_of(child.pid)


@pytest.mark.parametrize("child", ["rb"], indirect=True)
def test_who_only_reads_is_no_writer(log: Path, child: subprocess.Popen[bytes]) -> None:
    assert processes.writers(log) == []


MAPPER = """
import mmap, os, sys
log = os.open(sys.argv[1], os.O_RDONLY if sys.argv[2] == "reads" else os.O_RDWR)
memory = mmap.mmap(log, 4096, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | (mmap.PROT_WRITE if sys.argv[2] == "writes" else 0))
os.closerange(3, 99)  # Python keeps a copy of the descriptor too
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(("how", "found"), [("writes", True), ("could write", True), ("reads", False)])
def test_who_has_a_file_in_its_memory(log: Path, how: str, found: bool) -> None:
    """With no descriptor left. What is mapped to be read, by a descriptor that may write, can be made writable at any time."""
    log.write_bytes(b"x" * 5000)
    with subprocess.Popen([sys.executable, "-c", MAPPER, log, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        assert [(each.pid, each.appends) for each in processes.writers(log)] == ([(child.pid, False)] if found else [])
        assert processes.writers(log, mapped_by=[]) == []
        other = log.with_name("other")
        other.write_bytes(b"x")
        assert processes.writers(other) == []
        child.kill()


def test_a_mapping_that_is_gone_meanwhile_may_not_write() -> None:
    assert not processes._may_write(os.getpid(), b"0-1")


def test_this_process_is_not_among_them() -> None:
    assert os.getpid() not in processes.pids()
    assert os.getppid() in processes.pids()


def test_processes_and_descriptors_that_are_gone_meanwhile(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "pids", lambda: [0])
    assert processes.writers(log) == []
    assert processes.openers(ACCOUNT, set()) == []
    monkeypatch.setattr(os, "listdir", lambda _path: ["99999"])
    assert list(processes._opened(os.getpid(), log.stat())) == []


def test_what_cannot_be_seen_is_no_answer(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_pid: int, _wanted: object) -> Iterator[int]:
        raise PermissionError

    monkeypatch.setattr(processes, "_opened", denied)
    monkeypatch.setattr(processes, "pids", lambda: [1])
    with pytest.raises(NousVmError, match="CAP_SYS_PTRACE is missing"):
        processes.writers(log)


def test_described() -> None:
    assert processes.described(os.getpid()).pid == os.getpid()
    with pytest.raises((FileNotFoundError, ProcessLookupError)):
        processes.described(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a process of another account")
def test_who_has_an_accounts_rights(log: Path) -> None:
    started = [opened(log, "ab", user=ACCOUNT, group=1), opened(log, "ab", user=ACCOUNT + 1, group=ACCOUNT), opened(log, "ab")]
    try:
        assert {process.pid for process in processes.openers(ACCOUNT, set())} == {started[0].pid}
        assert {process.pid for process in processes.openers(ACCOUNT, {ACCOUNT})} == {started[0].pid, started[1].pid}
        assert processes.openers(ACCOUNT + 2, {ACCOUNT + 2}) == []
    finally:
        for process in started:
            process.kill()
            process.communicate()
