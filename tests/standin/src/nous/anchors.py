# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The daily anchors of the audit log, and the verifier that holds them against the log and its archives."""

import gzip
import json
import os
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from nous.audit import GENESIS, digest, last_record, now


class Walk(NamedTuple):
    """What is found from the oldest archive to the end of the log: the hash of each record in order, and what ended it before that, or nothing."""

    heads: list[str]
    fault: str = ""


def segments(log: Path) -> list[Path]:
    """The archives whose suffix is a number, perhaps with .gz, the highest first; then the log."""
    numbered = []
    for path in log.parent.iterdir():
        suffix = path.name.removeprefix(f"{log.name}.").removesuffix(".gz")
        if path.name.startswith(f"{log.name}.") and suffix.isdigit():
            numbered.append((-int(suffix), path))
    return [path for _number, path in sorted(numbered)] + ([log] if log.exists() else [])


def records(path: Path) -> Iterator[Any]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        yield from (json.loads(line) for line in file if line.strip())


def walk(log: Path) -> Walk:
    """Follow the chain. A segment may begin anew at zeros, or go on from the one before; the oldest may begin anywhere."""
    heads: list[str] = []
    try:
        for path in segments(log):
            allowed = {GENESIS, heads[-1]} if heads else None
            began = False
            for record in records(path):
                own = record.pop("entry_hash", "")
                if not own and began:
                    return Walk(heads, f"{path.name}: a record without a hash in the chain")
                if not own:
                    continue
                if digest(record) != own:
                    return Walk(heads, f"{path.name}: a record was changed")
                if allowed is not None and record.get("prev_hash") not in allowed:
                    return Walk(heads, f"{path.name}: {'a record is missing' if began else 'dangling first link'}")
                heads.append(own)
                allowed, began = {own}, True
    except (OSError, EOFError, zlib.error, ValueError, AttributeError) as error:
        return Walk(heads, f"cannot be read: {error}")
    return Walk(heads)


def verify(log: Path) -> dict[str, Any]:
    """Look at the log alone, as audit_verify does."""
    before: str | None = None
    lines = 0
    try:
        for record in records(log):
            lines += 1
            own = record.pop("entry_hash", "")
            if digest(record) != own or before not in (None, record.get("prev_hash")):
                return {"ok": False, "lines": lines, "head": before or GENESIS, "first_break_line": lines}
            before = own
    except (OSError, ValueError, AttributeError):
        return {"ok": False, "lines": lines, "head": before or GENESIS, "first_break_line": lines + 1}
    return {"ok": True, "lines": lines, "head": before or GENESIS, "first_break_line": None}


class Anchors:
    """At most one line a UTC day that pins the audit log's head; a chain of its own, never a reason to fail a call.

    today: a file with the day that a test wants it to be.
    """

    def __init__(self, path: Path, log: Path, today: Path) -> None:
        self.path, self.log, self.today = path, log, today
        self.degraded = ""
        self.last = last_record(path)

    def pin(self) -> None:
        """Walk log and archives at the first call of a day."""
        day = self.today.read_text().strip() if self.today.exists() else datetime.now(UTC).date().isoformat()
        if day == self.last.get("day"):
            return
        found = walk(self.log)
        if not found.heads:
            return
        record = {
            "day": day,
            "ts": now(),
            "head": found.heads[-1],
            "chained": len(found.heads),
            "chain_ok": not found.fault,
            "prev_anchor_hash": self.last.get("anchor_hash", GENESIS),
        }
        record["anchor_hash"] = digest(record)
        try:
            with self.path.open("ab", buffering=0) as file:
                file.write(json.dumps(record).encode() + b"\n")
                os.fsync(file.fileno())
        except OSError as error:
            self.degraded = str(error)
            return
        self.degraded = ""
        self.last = record

    def verify(self) -> dict[str, Any]:
        """Hold the anchors against the log: the newest has to be there, and of the others all that come after one that is there."""
        pinned, fault = self._read()
        found = Walk([])
        if not fault:
            found = walk(self.log)
            fault = f"audit chain broken: {found.fault}" if found.fault else ""
        places = {head: place for place, head in enumerate(found.heads)}
        present = [places.get(head) for head in pinned]
        seen = [place for place in present if place is not None]
        if not fault and pinned:
            if present[-1] is None:
                fault = "the most recent anchor is absent from the retained chain (tail truncation)"
            elif None in present[len(present) - len(seen) :]:
                fault = "an anchor is absent while an earlier one is present (tail truncation)"
            elif seen != sorted(seen):
                fault = "an anchor appears out of order"
        return {"ok": not fault, "reason": fault, "anchors": len(pinned), "checked": len(seen), "audit_chained": len(found.heads)}

    def _read(self) -> tuple[list[str], str]:
        """The heads that the anchors pin, and what is wrong with their own chain, or nothing."""
        heads: list[str] = []
        before = GENESIS
        try:
            for record in records(self.path) if self.path.exists() else ():
                own = record.pop("anchor_hash", "")
                if digest(record) != own or record.get("prev_anchor_hash") != before:
                    return heads, "anchor chain broken"
                heads.append(record["head"])
                before = own
        except (OSError, ValueError, AttributeError, KeyError) as error:
            return heads, f"anchor chain broken: {error}"
        return heads, ""
