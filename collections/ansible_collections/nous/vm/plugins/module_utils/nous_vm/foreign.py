# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to what another can influence: text and files. Programs that are run are in programs.py, peers that are asked over HTTP in peers.py.

Everything here has a bound in time, size and characters.
"""

from __future__ import annotations

import json
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any

from .errors import ForeignError

LINE = 500  # characters of foreign text that are printed
FILE = 1 << 20  # bytes of a foreign file that are read
SEARCH = 1 << 16  # bytes that are searched at once
ANY = 1 << 62  # bytes of one that may have any size, because it is read as a stream


def printable(text: str | bytes, limit: int = LINE) -> str:
    """Return foreign text as it may be printed: on one line, its printable characters as they are and all others escaped, at most LIMIT characters.

    Control characters reach a terminal raw otherwise; what str.isprintable() rejects includes those of Unicode (U+009B, U+202E, ...).
    """
    if isinstance(text, bytes):
        text = text[: 4 * limit].decode("utf-8", "replace")
    words = " ".join(text[: 4 * limit].split())
    shown = "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in words)
    return shown if len(shown) <= limit else f"{shown[: limit - 3]}..."


def open_file(path: Path | str, limit: int = FILE, folder: int | None = None) -> BufferedReader:
    """Open a foreign file for reading: no link, no FIFO, no device, not larger than LIMIT bytes. Raises OSError, ForeignError.

    folder: a descriptor of the folder that it is in, of which nothing but the name of the file is looked up then.
    """
    name = path if folder is None else os.path.basename(path)
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY, dir_fd=folder)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ForeignError(f"{printable(str(path))} is not a regular file")
        if found.st_size > limit:
            raise ForeignError(f"{printable(str(path))} has {found.st_size} bytes; at most {limit} are read")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_file(path: Path | str, limit: int = FILE) -> bytes:
    """Return what is in a foreign file of at most LIMIT bytes. Raises OSError, ForeignError."""
    with open_file(path, limit) as file:
        content = file.read(limit + 1)  # it may grow meanwhile
    if len(content) > limit:
        raise ForeignError(f"{printable(str(path))} has more than {limit} bytes")
    return content


def line_end(descriptor: int, before: int, least: int) -> int:
    """Return the offset just behind the last line end before an offset, 0 if there is none: backwards by blocks, each looked at once.

    Below LEAST it is not searched: what is returned then is where the search ended, at or before LEAST.
    """
    while before > 0:
        start = max(before - SEARCH, 0)
        found = os.pread(descriptor, before - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        before = start
        if before <= least:
            break
    return before


def read_json(path: Path | str, limit: int = FILE) -> dict[str, Any]:
    """Return the JSON object in a foreign file. Raises OSError, ForeignError."""
    return parse_json(read_file(path, limit), str(path))


def parse_json(content: bytes | str, origin: str) -> dict[str, Any]:
    """Return the JSON object in foreign text; ORIGIN names it in the ForeignError that is raised if there is none."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ForeignError(f"{printable(origin)} is not JSON: {printable(str(error))}") from None
    if not isinstance(value, dict):
        raise ForeignError(f"{printable(origin)} is not a JSON object")
    return value
