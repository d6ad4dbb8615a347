# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making checkpoints: what is new is hashed, signed, appended to a file that can only grow, and printed for the journal.

It is a short run of a unit that holds its files as descriptors which systemd opened for it, and may open none of them by a name. What it knows of the
checkpoint before is the last line of that file, so that the work of a run is what is new, also across rotations and restarts.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

from .. import times
from ..errors import NousVmError
from ..foreign import printable
from ..key.jwk import KeyProblem
from ..key.jws import Signer, kid, payload
from .chain import head_of, sha256
from .checkpoint import FIRST, KIND, Checkpoint, Mark, Piece, checkpoint
from .lines import TAIL, complete, first_line, last_line, size_of, tail
from .records import BLOCK


class Rotated(NousVmError):
    """The log was rotated while it was read: nothing is signed of it, and the next run does."""


class Files:
    """What a run has open: each log with its archives, the newest first, the trail if there is one, and the checkpoints, to read and to append to."""

    def __init__(self, logs: Mapping[str, Sequence[IO[bytes]]], trail: IO[bytes] | None, checkpoints: IO[bytes], append: int) -> None:
        self.logs, self.trail, self.checkpoints, self.append = logs, trail, checkpoints, append

    def last(self) -> tuple[str, Checkpoint | None]:
        """Return the last token and what it says; a line that was cut short is passed over. Raises NousVmError if there is none among many lines."""
        lines, others = tail(self.checkpoints)
        for line in reversed(lines):
            token = line.decode("ascii", "replace")
            try:
                return token, checkpoint(payload(token))
            except (NousVmError, KeyProblem):
                continue
        if others:
            raise NousVmError(f"the last {TAIL} bytes of the checkpoints hold none: somebody else wrote to them")
        return "", None

    def write(self, token: str) -> None:
        """Append a token, on a line of its own whatever came before, and bring it to the disk."""
        size = size_of(self.checkpoints)
        line = f"{token}\n".encode("ascii")
        if size and os.pread(self.checkpoints.fileno(), 1, size - 1) != b"\n":
            line = b"\n" + line
        if os.write(self.append, line) != len(line):
            raise NousVmError("a checkpoint could be written in part only: is the disk full?")
        os.fsync(self.append)


def make(files: Files, signers: Mapping[str, Signer], current: Signer, machine: dict[str, str] | None = None) -> Iterator[str]:
    """Write and yield the checkpoints that are due: none if nothing is new, two if the key is another one from now on.

    signers: the keys that are there, by their names. Of two, the one that signed before signs that the current one signs from now on. machine: its names.
    """
    token, before = files.last()
    found = _now(files, token, before, machine)
    old = signers.get(kid(token)) if before else None
    if old is not None and old.kid != current.kid:
        token = old.sign(found._replace(next_key=current.jwk).claims(), KIND)
        files.write(token)
        yield token
        found = _now(files, token, found, machine)
    elif before and not _news(before, found):
        return
    token = current.sign(found.claims(), KIND)
    files.write(token)
    yield token


def _now(files: Files, token: str, before: Checkpoint | None, machine: dict[str, str] | None) -> Checkpoint:
    """Return what can be signed now."""
    logs = {}
    for name, opened in files.logs.items():
        if made := piece(opened[0], opened[1:], before.logs.get(name) if before else None):
            logs[name] = made
    return Checkpoint(
        time=times.iso(),
        host=printable(os.uname().nodename),
        sequence=before.sequence + 1 if before else 1,
        logs=logs,
        trail=mark(files.trail),
        previous=sha256(token.encode("ascii")) if before else FIRST,
        machine=machine or None,
    )


def _news(before: Checkpoint, found: Checkpoint) -> bool:
    """Tell whether one says more than the other, or another thing."""
    places = [{name: (each.segment, each.size) for name, each in one.logs.items()} for one in (before, found)]
    return places[0] != places[1] or before.trail != found.trail


def mark(trail: IO[bytes] | None) -> Mark | None:
    """Return how far the trail has come."""
    end = complete(trail) if trail else 0
    return Mark(end, sha256(last_line(trail, end))) if trail and end else None


def piece(log: IO[bytes], archives: Sequence[IO[bytes]], before: Piece | None) -> Piece | None:
    """Return what is new in a log since the checkpoint before; None of a log without a record.

    If the file that was signed last is not among those that are there, or is shorter now, it is all of the log. Raises Rotated.
    """
    end = complete(log)
    if not end:
        return None
    segment = sha256(first_line(log))
    files, skip = _since(log, archives, before, segment, end)
    digest, covers = hashlib.sha256(), 0
    for file in files:
        left = end if file is log else None
        skip -= (passed := _pass(file, skip))
        left = None if left is None else left - passed
        while block := file.read(BLOCK if left is None else min(BLOCK, left)):
            left = None if left is None else left - len(block)
            digest.update(block)
            covers += len(block)
    head = head_of(last_line(log, end))
    if sha256(first_line(log)) != segment:  # a cut begins there: as long as that line is the same, nothing of what was read is of after it
        raise Rotated("the log was rotated while it was read")
    return Piece(segment, end, covers, digest.hexdigest(), head)


def _since(log: IO[bytes], archives: Sequence[IO[bytes]], before: Piece | None, segment: str, end: int) -> tuple[list[IO[bytes]], int]:
    """Return the files that hold what is new, the oldest first, and how many of their bytes were signed before."""
    if before and before.segment == segment and before.size <= end:
        return [log], before.size
    files = [log]
    for archive in archives if before and before.segment != segment else ():
        files.insert(0, archive)
        if before and sha256(first_line(archive)) == before.segment:
            return files, before.size
    return [log], 0


def _pass(file: IO[bytes], count: int) -> int:
    """Place a file behind its first COUNT bytes, or at its end; return how many that are."""
    return file.seek(min(count, size_of(file)))
