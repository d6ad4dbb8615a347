# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hash chain of a log: each record names the hash of the one before and its own, as nous writes them (SHA-256 of canonical JSON).

A log without such hashes is a log of lines; what is known of it is what checkpoints signed.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ..errors import NousVmError

GENESIS = "0" * 64


class Broken(NousVmError):
    """A record or an anchor that is not as it was written; the sentence is without its place."""


def sha256(content: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Take an object whose names are all different: of two values under one name only the last would be hashed."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice")
    return made


def parse(line: bytes) -> dict[str, Any]:
    """Return the JSON object of a line. Raises Broken."""
    try:
        value = json.loads(line.decode("utf-8", "replace"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Broken(f"is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise Broken("is no JSON object")
    return value


def entry_hash(record: dict[str, Any], name: str) -> str:
    """Return the hash of a record without the member NAME, which holds it."""
    body = {key: value for key, value in record.items() if key != name}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode("utf-8", "replace"))


def head_of(line: bytes) -> str:
    """Return what a checkpoint calls the head: the hash that a record names as its own or, of a line that names none, its SHA-256."""
    try:
        found = parse(line).get("entry_hash")
    except Broken:
        found = None
    return found if isinstance(found, str) and found else sha256(line)


class Chain:
    """Follows the records of a log. head: of the last line. rooted: whether the first record that was seen is the first of all."""

    def __init__(self, own: str = "entry_hash", before: str = "prev_hash") -> None:
        self.own, self.before = own, before
        self.head = GENESIS
        self.rooted = False
        self.chained = 0  # records
        self.plain = 0  # lines before the first record with a hash

    def follow(self, line: bytes) -> dict[str, Any] | None:
        """Take the next line; return its record if it has hashes. Raises Broken."""
        record = self._record(line)
        if record is None:
            self.plain += 1
            self.head = sha256(line)
            return None
        given = record[self.own]
        if entry_hash(record, self.own) != given:
            raise Broken(f"is not what was written: its {self.own} is of another record")
        link = record.get(self.before)
        if self.chained:
            if link != self.head:
                raise Broken("begins a chain of its own" if link == GENESIS else "does not link to the record before it")
        elif self.plain and link != GENESIS:
            raise Broken("links to a record that is not there")
        else:
            self.rooted = link == GENESIS
        self.chained += 1
        self.head = given
        return record

    def _record(self, line: bytes) -> dict[str, Any] | None:
        """Return the record of a line, nothing of a line without hashes in front of the chain."""
        try:
            record = parse(line)
            given = record.get(self.own)
        except Broken:
            if self.chained:
                raise
            return None
        if isinstance(given, str) and given:
            return record
        if self.chained:
            raise Broken(f"has no {self.own}")
        return None
