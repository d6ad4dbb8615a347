# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the records of a log link to one another, asked of each as it comes."""

from __future__ import annotations

from .chain import Broken, entry_hash, parse


def own_hash(line: bytes) -> str:
    """Return the hash that a record has of itself; nothing if it has none."""
    try:
        return str(parse(line).get("entry_hash", ""))
    except Broken:
        return ""


class Links:
    """Where a chain ends. head: the hash of its last record; nothing before the first that has one, and of those before it only whole lines are expected."""

    def __init__(self, last: bytes = b"") -> None:
        self.head = own_hash(last)

    def fault(self, line: bytes) -> str:
        """Take the next record; return what is wrong with it, or nothing."""
        try:
            record = parse(line)
        except Broken as error:
            return f"a record {error}"
        own = str(record.get("entry_hash", ""))
        if not own and not self.head:
            return ""
        if not own or entry_hash(record, "entry_hash") != own:
            return "a record has no hash, or another than it says"
        if self.head and record.get("prev_hash") != self.head:
            return "a record does not link to the one before: one was lost or changed"
        self.head = own
        return ""
