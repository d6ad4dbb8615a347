# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to run a program: one deadline for all of it, and a bound for what it prints."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from .errors import ForeignError
from .foreign import printable

OUTPUT = 1 << 20  # bytes that a program may print
BLOCK = 1 << 16


class Completed(NamedTuple):
    """What came of a program: its exit code (127 if it is not there, 124 if it was too late), and what it printed."""

    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """What it printed to standard output, as text."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def complaint(self) -> str:
        """The last line that it printed, to standard error if there is any, as it may be printed."""
        lines = [line for line in (self.stderr.strip() or self.stdout.strip()).splitlines() if line.strip()]
        return printable(lines[-1]) if lines else f"exit code {self.returncode} without a message"


def run(
    argv: Sequence[str | Path],
    *,
    timeout: float,
    limit: int = OUTPUT,
    stdin: bytes | IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | Path = "/",
    merge: bool = False,
    pass_fds: Sequence[int] = (),
    preexec_fn: Callable[[], object] | None = None,
    **identity: Any,
) -> Completed:
    """Run a program within TIMEOUT seconds in all; keep at most the last LIMIT bytes of each of its outputs. Its failures are for the caller to see.

    It has a process group of its own, which is killed as a whole when the time is over. stdin: bytes, or an open file; nothing by default. stdout: an open
    file that gets the output instead. merge: standard error goes to standard output. identity: user, group, extra_groups and umask, as subprocess has them.
    """
    source = stdin if stdin is not None and not isinstance(stdin, bytes) else subprocess.PIPE if stdin else subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            [str(each) for each in argv],
            stdin=source,
            stdout=subprocess.PIPE if stdout is None else stdout,
            stderr=subprocess.STDOUT if merge else subprocess.PIPE,
            env=None if env is None else dict(env),
            cwd=cwd,
            pass_fds=pass_fds,
            start_new_session=True,
            preexec_fn=preexec_fn,
            **identity,
        )
    except FileNotFoundError as error:
        if error.filename != str(argv[0]):  # the directory that it is to run in
            raise
        return Completed(127, b"", f"{argv[0]} is not installed".encode())
    with process:
        try:
            outputs = _communicate(process, stdin if isinstance(stdin, bytes) else b"", time.monotonic() + timeout, limit)
        except TimeoutError:
            _kill(process)
            return Completed(124, b"", f"{argv[0]} did not end within {timeout:g} s".encode())
        except BaseException:
            _kill(process)
            raise
    return Completed(process.returncode, *outputs)


class Dialogue:
    """A program that is talked to line by line, as in `with`: one deadline for all of it, a bound for all that it prints. It is killed at the end.

    What is sent has to fit into a pipe: a program that does not read is no reason to wait.
    """

    def __init__(self, argv: Sequence[str | Path], *, timeout: float, limit: int = OUTPUT) -> None:
        self.deadline, self.left = time.monotonic() + timeout, limit
        self.printed, self.complaints = b"", b""
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([str(each) for each in argv], stdin=pipe, stdout=pipe, stderr=pipe, cwd="/", start_new_session=True, bufsize=0)
        self.selector = selectors.DefaultSelector()
        for name in ("stdout", "stderr"):
            self.selector.register(getattr(self.process, name), selectors.EVENT_READ, name)
        self.stdin: IO[bytes] = self.process.stdin  # type: ignore[assignment] # it has one
        os.set_blocking(self.stdin.fileno(), False)

    def __enter__(self) -> Dialogue:
        return self

    def __exit__(self, *_error: object) -> None:
        self.selector.close()
        _kill(self.process)

    def send(self, line: bytes) -> None:
        """Send a line. A program that ended, or does not read, is found out by what it does not answer."""
        with contextlib.suppress(BrokenPipeError, BlockingIOError):
            os.write(self.stdin.fileno(), line + b"\n")

    def line(self) -> bytes | None:
        """Return its next line, None if there is none because it ended. Raises TimeoutError, ForeignError (it prints too much)."""
        while b"\n" not in self.printed:
            if not self._read():
                return None
        line, _end, self.printed = self.printed.partition(b"\n")
        return line

    def complaint(self, lines: int) -> str:
        """Return the last lines that it printed to standard error, as they may be printed."""
        return " | ".join(printable(each) for each in self.complaints.splitlines()[-lines:] if each.strip())

    def _read(self) -> bool:
        """Read what there is; tell whether there may be more of its output."""
        while left := max(self.deadline - time.monotonic(), 0):
            # What it complains of first: one that floods the other is always ready there.
            for key, _events in sorted(self.selector.select(left), key=lambda each: str(each[0].data)):
                block = os.read(key.fd, BLOCK)
                if not block:
                    self.selector.unregister(key.fileobj)
                elif key.data == "stderr":
                    self.complaints = (self.complaints + block)[-BLOCK:]
                else:
                    self.printed, self.left = self.printed + block, self.left - len(block)
                    if self.left < 0:
                        raise ForeignError("it prints too much")
                    return True
            if not self.selector.get_map():
                return False
        raise TimeoutError


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()


def _communicate(process: subprocess.Popen[bytes], given: bytes, deadline: float, limit: int) -> tuple[bytes, bytes]:
    """Feed a program and read its outputs until both are closed and it ended; raise TimeoutError at the deadline."""
    kept = {"stdout": b"", "stderr": b""}
    with selectors.DefaultSelector() as selector:
        for name in kept:
            if stream := getattr(process, name):
                selector.register(stream, selectors.EVENT_READ, name)
        if process.stdin:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE, "stdin")
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            for key, _events in selector.select(left):
                if key.data == "stdin":
                    given = _feed(key.fd, given)
                    done = not given
                else:
                    block = os.read(key.fd, BLOCK)
                    kept[key.data] = (kept[key.data] + block)[-limit:]
                    done = not block
                if done:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
    try:
        process.wait(max(deadline - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    return kept["stdout"], kept["stderr"]


def _feed(descriptor: int, given: bytes) -> bytes:
    """Write what fits into a pipe and return what is left; nothing is left for a program that reads no more."""
    try:
        written = os.write(descriptor, given[:BLOCK])
        return given[written:]
    except BrokenPipeError:
        return b""
