# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs: one deadline for all of one, whoever holds its pipes, and a bound for what it prints."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed, run

LATE = 0.3  # seconds that a program gets which takes longer
SOON = 10.0  # seconds in which a program that was ended has to be gone


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone(pid: int) -> bool:
    deadline = time.monotonic() + SOON
    while alive(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def sh(script: str, timeout: float = SOON, **options: object) -> Completed:
    return run(["sh", "-c", script], timeout=timeout, **options)  # type: ignore[arg-type]


def test_what_came_of_it() -> None:
    assert sh("echo out; echo err >&2; exit 3") == (3, b"out\n", b"err\n")
    assert sh("printf 'a\\377'").text == "a\ufffd"
    assert sh("echo out; echo err >&2", merge=True).stdout == b"out\nerr\n"
    assert run(["pwd"], timeout=SOON).text == "/\n"
    assert run([Path("/bin/pwd")], timeout=SOON, cwd="/usr").text == "/usr\n"
    assert sh("echo $A$HOME", env={"A": "x"}).text == "x\n"


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("echo out; echo 'no room' >&2; echo >&2", "no room"),
        ("echo first; echo last", "last"),
        ("printf '\\033[31mred'", "\\x1b[31mred"),
        ("exit 4", "exit code 4 without a message"),
    ],
)
def test_its_complaint_is_one_printable_line(script: str, complaint: str) -> None:
    assert sh(script).complaint == complaint


def test_one_that_is_not_there() -> None:
    done = run(["/no/such/program"], timeout=SOON)
    assert (done.returncode, done.complaint) == (127, "/no/such/program is not installed")
    with pytest.raises(FileNotFoundError, match="/no/such/folder"):
        run(["true"], timeout=SOON, cwd="/no/such/folder")
    with pytest.raises(PermissionError):
        run(["/etc/passwd"], timeout=SOON)


def test_one_that_does_not_end() -> None:
    began = time.monotonic()
    done = sh("exec sleep 60", LATE)
    assert (done.returncode, done.complaint) == (124, "sh did not end within 0.3 s")
    assert time.monotonic() - began < SOON


@pytest.mark.parametrize("ends", ["exit 0", "wait"])
def test_its_children_are_ended_with_it(tmp_path: Path, ends: str) -> None:
    """Whether the program itself has ended or not: a child that keeps its pipe open keeps nobody waiting."""
    done = sh(f"sleep 60 & echo $! > {tmp_path}/pid; {ends}", LATE)
    assert done.returncode == 124
    assert gone(int((tmp_path / "pid").read_text(encoding="utf-8")))


def test_one_that_closes_its_pipes_and_does_not_end() -> None:
    assert sh("exec >&- 2>&-; exec sleep 60", LATE).returncode == 124


def test_one_that_floods() -> None:
    """The last of it is kept, and it is ended at the deadline, however busy it keeps us."""
    assert run([sys.executable, "-c", "print('x' * 3_000_000 + 'end')"], timeout=60, limit=1000).stdout == b"x" * 996 + b"end\n"
    assert run(["yes"], timeout=LATE).returncode == 124


def test_standard_input(tmp_path: Path) -> None:
    assert run(["cat"], timeout=SOON).stdout == b""
    assert run(["cat"], timeout=SOON, stdin=b"x" * 1_000_000).stdout == b"x" * 1_000_000
    assert run(["true"], timeout=SOON, stdin=b"x" * 1_000_000).returncode == 0
    assert run(["sleep", "60"], timeout=LATE, stdin=b"x" * 1_000_000).returncode == 124
    (tmp_path / "in").write_bytes(b"from a file")
    with (tmp_path / "in").open("rb") as given:
        assert run(["cat"], timeout=SOON, stdin=given).stdout == b"from a file"


def test_an_open_file_gets_its_output(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        assert sh("echo out; echo err >&2", stdout=file) == (0, b"", b"err\n")
    assert (tmp_path / "out").read_bytes() == b"out\n"


def test_a_descriptor_that_is_passed_on() -> None:
    ours, theirs = os.pipe()
    sh(f"echo x > /dev/fd/{theirs}", pass_fds=[theirs])
    os.close(theirs)
    assert os.read(ours, 10) == b"x\n"
    os.close(ours)


def test_identity_and_what_runs_before(tmp_path: Path) -> None:
    assert sh("umask", umask=0o027).text == "0027\n"
    assert sh("cat", preexec_fn=(tmp_path / "ran").touch).returncode == 0
    assert (tmp_path / "ran").exists()


def test_an_interruption_ends_it(tmp_path: Path) -> None:
    """Whoever interrupts this process leaves no program behind."""

    class Interrupted(BaseException):
        pass

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 1)
        with contextlib.suppress(Interrupted):
            sh(f"echo $$ > {tmp_path}/pid; exec sleep 60", 60)
            raise AssertionError("it was not interrupted")
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert gone(int((tmp_path / "pid").read_text(encoding="utf-8")))


def test_a_group_that_is_gone_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the deadline and the signal a program may end, and with it its group."""

    def none(_group: int, _number: int) -> None:
        raise ProcessLookupError

    monkeypatch.setattr(os, "killpg", none)
    assert sh("exec sleep 60", LATE).returncode == 124
