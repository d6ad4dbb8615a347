# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a log, over all its files, up to where each checkpoint says that it had come, and comparing what was signed with what is there.

Everything is read once, from the oldest file on; what is kept is two running hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import NousVmError
from .chain import GENESIS, Broken, Chain, sha256
from .checkpoint import Piece
from .lines import UNREADABLE, first_line, lines, opened
from .report import Part


class Place(NamedTuple):
    """A line: the name of its file, and its number in it."""

    segment: str
    record: int


class Running:
    """A hash of what was read from some place on. start: in bytes. first: the first line that is hashed, once there is one."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.digest = hashlib.sha256()
        self.first: Place | None = None

    def add(self, line: bytes, place: Place) -> None:
        self.first = self.first or place
        self.digest.update(line)


class Walk:
    """One log. files: its archives, the oldest first, and the log itself. seen: called with the hash of each record of the chain.

    fetched: the files were fetched while the log was written to. The last record of one may be the first of the next then, where a rotation moved it.
    links: follow the chain too, which takes most of the time.
    """

    def __init__(self, name: str, files: Sequence[Path], seen: Callable[[str], object], *, fetched: bool = False, links: bool = True) -> None:
        self.name, self.files, self.seen, self.fetched, self.links = name, files, seen, fetched, links
        self.part = Part(f"log {name}")
        self.chain = Chain()
        self.position = 0  # bytes that were read, over all files
        self.place = Place(name, 0)
        self.compared = self.older = self.uncovered = self.newer = 0  # checkpoints; bytes; records after the last checkpoint
        self._bases: dict[str, int] = {}  # where each segment begins that was come to
        # Since the last checkpoint, and since the beginning of the file that the next one names: that is where one begins that knew of none before it.
        self._signed, self._own = Running(0), Running(0)
        self._seeking = True
        self._segments = self._identify()
        self._lines = self._read()
        self._oldest_gone = ""

    def meet(self, piece: Piece, label: str) -> None:
        """Read up to where a checkpoint had come, and compare."""
        if self.part.fault:
            return
        if piece.segment not in self._segments:
            self._unknown(piece, label)
            return
        while piece.segment not in self._bases and self._step():
            pass
        if self.part.fault:
            return
        target = self._bases.get(piece.segment, self.position) + piece.size  # of a file that was passed over there is nothing to compare
        self._seeking = False
        self._read_to(target, target - piece.covers)
        self._seeking = True
        if not self.part.fault:
            self._compare(piece, label, target)

    def _read_to(self, target: int, start: int) -> None:
        """Read up to where a checkpoint had come, so that one of the hashes is of what it signed."""
        if start > self._signed.start and start >= self.position:  # it knew of none before it, or that one is of an archive that is gone
            while self.position < start and self._step():
                pass
            self.uncovered += self.position - self._signed.start if self.compared else 0
            self._signed = Running(self.position)
        while self.position < target and self._step():
            pass

    def finish(self, keep: int | None) -> None:
        """Read the rest, and say what is to be said. keep: how many archives there have to be once older ones are gone."""
        if not self.files:
            self.part.fail(self.name, 0, "there is no such log")
            return
        while not self.part.fault and self._step():
            self.newer += 1
        if self.older and not self.compared:
            self.part.fail(self.files[0].name, 1, f"none of the {len(self.files)} files begins with a record that was signed; {self._oldest_gone} knows others")
        archives = len(self.files) - 1
        if keep is not None and self.older and archives < keep:
            self.part.fail(
                self.files[0].name, 1, f"older archives are gone, of which {self._oldest_gone} knows, but there are {archives} of {keep} that are kept"
            )
        if self.older:
            self.part.note(f"{self.older} checkpoints are of archives before the oldest that is here")
        if self.uncovered:
            self.part.note(f"{self.uncovered} bytes are covered by no checkpoint but through their chain")
        if self.chain.plain:
            self.part.note(f"{self.chain.plain} lines have no hash chain")
        chained = f"{self.chain.chained} chained records from {'the first' if self.chain.rooted else 'the oldest that is here'} on"
        counts = f"{len(self.files)} files, {chained if self.chain.chained else 'no chained record'}; {self.compared} checkpoints compared"
        self.part.note(f"{counts}, {self.newer} records are newer than the last" if self.compared else counts)

    def _identify(self) -> dict[str, int]:
        """Return the segments by the SHA-256 of their first lines."""
        found: dict[str, int] = {}
        for index, path in enumerate(self.files):
            try:
                with opened(path) as file:
                    line = first_line(file)
            except (*UNREADABLE, NousVmError) as error:
                self.part.fail(path.name, 1, f"cannot be read: {error}")
                return found
            if line and found.setdefault(sha256(line), index) != index:
                self.part.fail(path.name, 1, f"is there twice: {self.files[found[sha256(line)]].name} begins with it too")
        return found

    def _read(self) -> Iterator[tuple[bytes, Place]]:
        """Yield the lines of all files."""
        for index, path in enumerate(self.files):
            number = 0
            try:
                with opened(path) as file:
                    for number, line in enumerate(lines(file), 1):
                        if self.fetched and self._segments.get(sha256(line)) == index + 1 and not file.read(1):
                            break
                        if number == 1:
                            self._bases[sha256(line)] = self.position
                        if not line.endswith(b"\n"):
                            if path != self.files[-1]:
                                raise Broken("is not complete")
                            self.part.note("the last line is not complete")
                            return
                        yield line, Place(path.name, number)
            except (*UNREADABLE, NousVmError) as error:
                where = number if isinstance(error, Broken) else number + 1
                self.part.fail(path.name, where, str(error) if isinstance(error, NousVmError) else f"cannot be read: {error}")
                return

    def _step(self) -> bool:
        """Take one line; return whether there was one, and it was as it was written."""
        following = next(self._lines, None)
        if following is None:
            return False
        line, place = following
        if self.links and not self._follow(line.removesuffix(b"\n"), place):
            return False
        self.place = place
        if self._seeking and place.record == 1:
            self._own = Running(self.position)
        self._signed.add(line, place)
        self._own.add(line, place)
        self.position += len(line)
        return True

    def _follow(self, line: bytes, place: Place) -> bool:
        """Follow the chain by a line; return whether it holds."""
        try:
            if self.chain.follow(line) is not None:
                self.seen(self.chain.head)
        except Broken as broken:
            self.part.fail(*place, f"{broken}")
            return False
        return True

    def _unknown(self, piece: Piece, label: str) -> None:
        """A checkpoint of a file that is not here: before the first that is here it is too old, later it is missing."""
        if not self.compared:
            self.older += 1
            self._oldest_gone = self._oldest_gone or label
            return
        index = next(number for number, path in enumerate(self.files) if path.name == self.place.segment)
        after = self.files[min(index + 1, len(self.files) - 1)].name
        self.part.fail(after, 1, f"begins with another record than that which {label} signed, or the file that did is gone (segment {piece.segment[:16]})")

    def _compare(self, piece: Piece, label: str, target: int) -> None:
        """Compare what was read since the checkpoint before with what this one signed."""
        segment, record = self.place
        start = target - piece.covers
        if self.position < target:
            self.part.fail(segment, record + 1, f"ends {target - self.position} bytes before where {label} signed that it had come")
            return
        running = next((one for one in (self._signed, self._own) if one.start == start), None)
        first = (running or self._signed).first or self.place
        partly = start < 0 and not self.compared  # its beginning is in an archive that is gone
        differs = running is not None and piece.sha256 != running.digest.hexdigest()
        if differs or self.position > target or (running is None and not partly):
            until = f"up to record {record}" if first.segment == segment else f"up to record {record} of {segment}"
            self.part.fail(*first, f"from here {until}: not what {label} signed")
        elif self.links and piece.head != self.chain.head:
            self.part.fail(segment, record, f"{label} signed another record")
        else:
            self.uncovered += max(start - self._signed.start, 0) if self.compared else 0
            self.compared += 1
            self._signed, self._own = Running(target), Running(target)


class Anchors:
    """The daily anchors: a chain of their own, each of which names the newest record of the log as it was then. files: mostly one."""

    MOST = 100_000  # lines: one a day

    def __init__(self, path: Path) -> None:
        self.path = path
        self.part = Part(f"anchors {path.name}")
        self._heads: dict[str, list[int]] = {}
        self._seen: dict[int, int] = {}  # by the line of an anchor, when its record was met
        self._days: dict[int, str] = {}
        self._met = 0
        chain = Chain("anchor_hash", "prev_anchor_hash")
        number = 0
        try:
            with opened(path) as file:
                for number, line in enumerate(lines(file), 1):
                    if number > self.MOST:
                        raise Broken(f"is one line too many: {self.MOST} are read")
                    self._take(chain, number, line)
        except (*UNREADABLE, NousVmError) as error:
            self.part.fail(path.name, number, str(error))

    def _take(self, chain: Chain, number: int, line: bytes) -> None:
        record: dict[str, Any] | None = chain.follow(line.removesuffix(b"\n"))
        if record is None:
            raise Broken("is no anchor with a hash")
        if number == 1 and record.get("prev_anchor_hash") != GENESIS:
            raise Broken("is not the first anchor")
        self._heads.setdefault(str(record.get("head")), []).append(number)
        self._days[number] = str(record.get("day"))

    def seen(self, head: str) -> None:
        """Take note of a record of the log."""
        self._met += 1
        for number in self._heads.get(head, ()):
            self._seen.setdefault(number, self._met)

    def finish(self, expired: bool) -> None:
        """Say which anchors name a record that is not here, though an older one's is, or which is the newest.

        expired: checkpoints know of older archives, and that nothing is missing since. Then the record of the newest may have been in one of those.
        """
        before = 0
        for number, day in self._days.items():
            place = self._seen.get(number, 0)
            newest = number == len(self._days)
            if not place and (before or (newest and not expired)):
                self.part.fail(self.path.name, number, f"the record that the anchor of {day} names is not here: the log was cut or made anew before it")
            elif place and place < before:
                self.part.fail(self.path.name, number, f"the record that the anchor of {day} names comes before that of an older anchor")
            before = max(before, place)
        older = len(self._days) - len(self._seen)
        self.part.note(f"{len(self._seen)} of {len(self._days)} name a record that is here" + (f", {older} an older one" if older else ""))
