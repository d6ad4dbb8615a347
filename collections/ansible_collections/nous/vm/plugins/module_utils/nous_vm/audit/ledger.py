# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checkpoints as a whole: each signed by the key that the one before left in charge, each naming the one before, none missing.

Checkpoints that had left the host count for more than those that are there: where both are, the one that had left is what the log is compared with.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import NousVmError
from ..foreign import ANY, open_file, printable
from ..key.jwk import Jwk, KeyProblem
from ..key.jws import TOKEN, kid, payload, public_key, verify
from .chain import sha256
from .checkpoint import FIRST, KIND, Checkpoint, checkpoint
from .report import Part

NEXT = "next_key"
MOVES = 5  # the first of them are told


class Signed(NamedTuple):
    """A checkpoint whose signature is good, its token, and the file and line that it is on."""

    sequence: int
    token: str
    found: Checkpoint
    place: str
    line: int


class Ledger:
    """Reads the checkpoints of a host, and those that had left it, once and in order. part: what is to be said of them."""

    def __init__(self, path: Path | None, left: Sequence[Path], trusted: dict[str, Jwk]) -> None:
        self.path, self.left, self.trusted = path, left, trusted
        self.part = Part("checkpoints")
        self.count = self.damaged = 0
        self.last: Checkpoint | None = None
        self.moved: list[str] = []  # where it became another machine: moved, restored, renewed, or a copy
        self.back = ""  # where the host's clock went back first: no fault, because it may have been mended
        self._keys = dict(trusted)  # those that may sign the next one
        self._known = dict(trusted)  # and all that ever might, for what had left
        self._pinned = dict(trusted)  # and those of them that did not sign yet

    def checkpoints(self) -> Iterator[Checkpoint]:
        """Yield all checkpoints in the order of their numbers."""
        self._learn()
        had_left = _Peekable(heapq.merge(*map(self._copies, self.left), key=lambda one: one.sequence))
        before = FIRST
        for here in self._host():
            if here.found.previous != before:
                self.part.fail(here.place, here.line, f"{here.found.label} {self._gap(here.sequence)}")
            before = sha256(here.token.encode("ascii"))
            while (other := had_left.first) and other.sequence < here.sequence:
                had_left.advance()
                yield self._taken(other, f"{other.found.label} had left, and is not there any more")
            while (other := had_left.first) and other.sequence == here.sequence:
                had_left.advance()
                if other.token != here.token:
                    here = other
                    self.part.fail(here.place, here.line, f"{other.found.label} had left, and another one is in its place")
            yield self._taken(here)
        while other := had_left.first:
            had_left.advance()
            yield self._taken(other, f"{other.found.label} had left, and is not there: an older state was restored, or the end was cut off")
        self._finish()

    def _gap(self, sequence: int) -> str:
        after = self.last.sequence if self.last else 0
        missing = f"{after + 1} to {sequence - 1} are missing before it" if sequence > after + 2 else f"{after + 1} is missing before it"
        return missing if sequence > after + 1 else f"does not name the one before it, {after}"

    def _learn(self) -> None:
        """Find all keys that a trusted one, or one that it named, named as the next: what had left may begin behind that."""
        known = 0
        while known != len(self._known):
            known = len(self._known)
            for path in [*([self.path] if self.path else []), *self.left]:
                for _number, token, _complete in _tokens(path):
                    with contextlib.suppress(NousVmError, KeyProblem):
                        if kid(token) in self._known and NEXT in payload(token):
                            self._verified(token, "", 0, self._known)

    def _taken(self, signed: Signed, fault: str = "") -> Checkpoint:
        if fault:
            self.part.fail(signed.place, signed.line, fault)
        self.count += 1
        if self.last and signed.found.time < self.last.time:
            self.back = self.back or f"the host's clock went back after {self.last.label}, to {signed.found.time}"
        moved = self.last and self.last.machine and signed.found.machine and self.last.machine != signed.found.machine
        if moved and len(self.moved) < MOVES:
            self.moved.append(f"from {signed.found.label} on it is another machine")
        self.last = signed.found
        return signed.found

    def _finish(self) -> None:
        if not self.count and not self.part.fault:
            self.part.note("there are none")
        elif self.last:
            self.part.note(f"{self.count}, the last is {self.last.label}")
        if self.back:
            self.part.note(self.back)
        for each in self.moved:
            self.part.note(each)
        if self.damaged:
            self.part.note(f"{self.damaged} lines were cut short while they were written")

    def _host(self) -> Iterator[Signed]:
        """Yield the checkpoints that are on the host; another line is a fault, unless it was cut short and the next one goes on behind it."""
        broken: list[tuple[int, str]] = []
        expected = 1
        for number, text, complete in _tokens(self.path) if self.path else ():
            try:
                signed = self._verified(text, str(self.path), number, self._keys)
            except (NousVmError, KeyProblem) as problem:
                if complete or broken:
                    broken.append((number, str(problem)))
                else:
                    self.damaged += 1
                continue
            if broken and signed.sequence != expected:
                self._bad(broken[0])
            else:
                self.damaged += len(broken)
            broken, expected = [], signed.sequence + 1
            yield signed
        if broken:
            self._bad(broken[0])

    def _bad(self, broken: tuple[int, str]) -> None:
        self.part.fail(self.path.name if self.path else "", broken[0], f"the line {broken[1]}")

    def _copies(self, path: Path) -> Iterator[Signed]:
        """Yield the checkpoints in a file of those that had left; whatever else is in it is passed over, because a journal has other lines too."""
        highest = 0
        for number, text, _complete in _tokens(path):
            try:
                signed = self._verified(text, str(path), number, self._known)
            except (NousVmError, KeyProblem):
                continue
            if signed.sequence >= highest:  # what was exported twice is there twice
                highest = signed.sequence
                yield signed

    def _verified(self, token: str, place: str, line: int, keys: dict[str, Jwk]) -> Signed:
        """Return a checkpoint whose signature is good. Raises NousVmError, KeyProblem: a sentence without a subject."""
        name = kid(token)
        if name not in keys:
            why = "that another one replaced" if name in self._known else "that is not trusted, and that none before it named"
            raise KeyProblem(f"is signed by a key {why}: {printable(name)}")
        found = checkpoint(verify(token, keys[name], KIND))
        following = {name: keys[name]}
        if found.next_key is not None:
            successor = public_key(found.next_key)
            following = {successor["kid"]: successor}
        if keys is self._keys:
            # Of several that were pinned, one that did not sign yet may be that of the host that this one was made of.
            self._pinned = {each: jwk for each, jwk in self._pinned.items() if each != name and each not in following}
            self._keys = following | self._pinned
        self._known.update(following)
        return Signed(found.sequence, token, found, Path(place).name, line)


class _Peekable:
    """An iterator whose next element can be looked at."""

    def __init__(self, source: Iterator[Signed]) -> None:
        self._source = source
        self.first = next(source, None)

    def advance(self) -> None:
        self.first = next(self._source, None)


def _tokens(path: Path) -> Iterator[tuple[int, str, bool]]:
    """Yield number and text of each line, and whether it has its end; of a line that is too long its beginning."""
    with open_file(path, ANY) as file:
        number = 0
        while line := file.readline(TOKEN + 2):
            number += 1
            complete = line.endswith(b"\n")
            yield number, line.strip().decode("ascii", "replace"), complete
            while not complete and (rest := file.readline(TOKEN)):
                complete = rest.endswith(b"\n")
