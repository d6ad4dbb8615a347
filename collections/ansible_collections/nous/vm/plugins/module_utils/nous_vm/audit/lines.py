# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a log, plain or compressed, as lines: a log of any size is read with bounded memory."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

from ..errors import NousVmError
from ..foreign import ANY, line_end, open_file
from .records import LIMIT

TAIL = 1 << 20  # bytes at the end of a file that are read for its last lines
UNREADABLE = (OSError, EOFError, zlib.error)


def opened(path: Path) -> IO[bytes]:
    """Open a log or an archive, decompressed if its name ends with .gz. Raises OSError, ForeignError."""
    file = open_file(path, ANY)
    return cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if path.suffix == ".gz" else file


def size_of(file: IO[bytes]) -> int:
    """Return the bytes of an open file, decompressed."""
    if isinstance(file, gzip.GzipFile):
        return file.seek(0, os.SEEK_END)
    return os.fstat(file.fileno()).st_size


def lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file, each with its end if it has one. Raises NousVmError for one that is too long."""
    while line := file.readline(LIMIT + 1):
        if len(line) > LIMIT:
            raise NousVmError(f"has a line of more than {LIMIT} bytes")
        yield line


def first_line(file: IO[bytes]) -> bytes:
    """Return the first line of a file, with its end."""
    file.seek(0)
    return next(lines(file), b"")


def complete(file: IO[bytes]) -> int:
    """Return the offset behind the last line end of an open plain file, searched backwards by blocks."""
    return _line_end(file, size_of(file))


def last_line(file: IO[bytes], end: int) -> bytes:
    """Return the line that ends at an offset of an open plain file, without its end."""
    start = _line_end(file, end - 1)
    return os.pread(file.fileno(), end - 1 - start, start)


def tail(file: IO[bytes]) -> tuple[list[bytes], bool]:
    """Return the lines in the last TAIL bytes of an open plain file, without their ends, and whether there are others before.

    Behind the last line end is one more: empty, or what is incomplete.
    """
    start = max(size_of(file) - TAIL, 0)
    first = 1 if start else 0
    return os.pread(file.fileno(), TAIL, start).split(b"\n")[first:], start > 0


def _line_end(file: IO[bytes], before: int) -> int:
    start = line_end(file.fileno(), before, before - LIMIT)
    if 0 < start <= before - LIMIT:
        raise NousVmError(f"a line of the log has more than {LIMIT} bytes")
    return start


def archives(directory: Path, name: str) -> list[Path]:
    """Return the archives of a log by their numbers, the oldest first. A number is not taken for an age where two files have it: both are returned."""
    return [path for _number, path in reversed(numbered(directory, name))]


def numbered(directory: Path, name: str) -> list[tuple[int, Path]]:
    """Return the archives of a log with their numbers, the newest first."""
    pattern = re.compile(rf"{re.escape(name)}\.([0-9]+)(\.gz)?")
    matches = [match for match in map(pattern.fullmatch, os.listdir(directory)) if match]
    return sorted((int(match[1]), directory / match[0]) for match in matches)
