#!/usr/bin/env python3
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Walk an audit log's hash chain, oldest file first, and say how many records it holds; exit 1 where it breaks.

Written from the format alone: it shares no code with the server.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

GENESIS = "0" * 64


class Broken(Exception):
    """The line that breaks the chain, by file and number."""


def files(log: Path) -> list[Path]:
    """The archives of LOG and LOG itself, oldest first."""
    archives = log.parent.glob(f"{log.name}.*")
    return [*sorted(archives, key=lambda path: -int(path.name.removesuffix(".gz").rpartition(".")[2])), log]


def digest(record: dict[str, Any]) -> str:
    """The hash of a record without its own."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def walk(paths: Iterable[Path], head: str = GENESIS) -> list[dict[str, Any]]:
    """The records of PATHS (plain or .gz) in order; raises Broken at the first torn, changed or missing one.

    HEAD is the entry_hash that the first record must link to.
    """
    records = []
    for path in paths:
        content = path.read_bytes()
        lines = (gzip.decompress(content) if path.suffix == ".gz" else content).splitlines(keepends=True)
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
                own_hash = record.pop("entry_hash")
            except (ValueError, KeyError, AttributeError) as error:
                raise Broken(f"{path}:{number}: not a chained record") from error
            if not line.endswith(b"\n"):
                raise Broken(f"{path}:{number}: torn")
            if record.get("prev_hash") != head:
                raise Broken(f"{path}:{number}: does not link to the record before")
            if digest(record) != own_hash:
                raise Broken(f"{path}:{number}: changed since it was written")
            head = own_hash
            records.append({**record, "entry_hash": own_hash})
    return records


if __name__ == "__main__":
    try:
        print(len(walk(map(Path, sys.argv[1:]))))
    except Broken as broken:
        sys.exit(str(broken))
