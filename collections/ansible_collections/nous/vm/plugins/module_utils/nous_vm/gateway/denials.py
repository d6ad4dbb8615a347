# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who was denied, from Caddy's log of it. Caddy writes it and strangers choose what is in it: every file, line and field is foreign.

Beside other sites it is the gateway's access log, because only the global block can have a log of its own for who was denied.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import math
import re
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..errors import ForeignError
from ..foreign import open_file, printable

FOLDER = Path("/var/log/caddy")
PATTERNS = ("denied*.log*", "access.caddy_gateway*.log*")
FILES = 32  # the newest that are read
FILE = 128 << 20  # bytes of one file, also when it is uncompressed; Caddy begins another at 50 MiB
KEPT = 2000  # characters of one field
LINE = 1 << 17  # bytes of one line; a request's head is at most 12 kB
ADDRESSES = 10000  # that are told apart
OTHERS = "others"
FAILED = 500  # from this status on it is a failure, not a denial, but for this one: no more can wait for the server
FULL = ("full", "resource temporarily unavailable")  # its reason, and how its message ends
LET_IN = b'"denied":""'
WHEN = re.compile(rb'\{"level":"[a-z]+","ts":([0-9]{1,12}\.?[0-9]{0,9})')  # how Caddy begins a line, before anything of a stranger's


class Denial(NamedTuple):
    """A request that was denied. when: seconds since the epoch. target: host and path. reason: address, host and so on. All text is foreign until printed()."""

    when: float
    address: str
    method: str
    target: str
    reason: str

    def printed(self) -> Denial:
        """Return it with what may be printed."""
        return Denial(self.when, *map(printable, self[1:]))


class Denials(NamedTuple):
    """Who was denied: how often, and the last time, by address, the busiest first. unreadable: which files could not be read, and why."""

    addresses: dict[str, tuple[int, Denial]]
    unreadable: list[str]


def denied_since(since: float, until: float = math.inf) -> Denials:
    """Return who was denied, as it may be printed; no more addresses than fit into little memory. since, until: seconds since the epoch."""
    found: dict[str, tuple[int, Denial]] = {}
    unreadable: list[str] = []
    for path in _files(since):
        try:
            for each in denials_in(path, since, until):
                address = each.address if each.address in found or len(found) < ADDRESSES else OTHERS
                found[address] = (found.get(address, (0,))[0] + 1, each)
        except FileNotFoundError:  # Caddy renames and compresses them meanwhile
            continue
        except (OSError, ForeignError) as error:
            unreadable.append(printable(str(error)))
    busiest = sorted(found.items(), key=lambda each: -each[1][0])
    return Denials({printable(address): (times, last.printed()) for address, (times, last) in busiest}, unreadable)


def _files(since: float) -> list[Path]:
    """Return the files of the log that may have lines since then, the newest last."""
    ages: dict[Path, float] = {}
    for path in (path for pattern in PATTERNS for path in FOLDER.glob(pattern)):
        with contextlib.suppress(FileNotFoundError):
            ages[path] = path.lstat().st_mtime
    return sorted((path for path, age in ages.items() if age >= since), key=lambda path: ages[path])[-FILES:]


def denials_in(path: Path, since: float, until: float = math.inf) -> Iterator[Denial]:
    """Yield the denials in a file of the log. Raises OSError, ForeignError."""
    with open_file(path, FILE) as file:
        lines: Any = gzip.GzipFile(fileobj=file) if path.suffix == ".gz" else file
        with contextlib.suppress(EOFError, zlib.error):  # it is not complete yet
            for line in _lines(lines):
                begin = WHEN.match(line)  # most of a log is older, and none of that is worth parsing
                if LET_IN in line or (begin and float(begin[1]) < since):
                    continue
                if (found := parsed(line)) and since <= found.when < until:
                    yield found


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file up to a limit of bytes. Of one that is too long, the pieces are no JSON."""
    left = FILE
    while left > 0 and (line := file.readline(min(LINE, left))):
        left -= len(line)
        yield line


def parsed(line: bytes) -> Denial | None:
    """Return the denial that a line of the log tells of; None if it tells of none, or is being written."""
    try:
        entry = json.loads(line)
        request, when = entry["request"], entry["ts"]
        # An error of Caddy's has its reason as the message; what failed is an error too.
        if "denied" in entry:
            reason = entry["denied"]
        elif str(entry["msg"]).endswith(FULL[1]):
            reason = FULL[0]
        else:
            reason = entry["status"] < FAILED and entry["msg"]
        if not reason or not isinstance(when, int | float):
            return None
        text = (request["remote_ip"], request["method"], f"{request['host']}{request['uri']}", reason)
        return Denial(float(when), *(str(each)[:KEPT] for each in text))
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def is_client(found: Denial) -> bool:
    """Tell whether a request looks like one of an MCP client from a network that is missing on the allow list: browsers and scanners send no POST there."""
    return found.reason == "address" and found.method == "POST" and found.target.partition("/")[2] in ("", "token", "register")


def advice(address: str) -> str:
    """Return what to do about a client at an address."""
    return f"    an MCP client? sudo nous-vm gate allow {address}, and add its network to caddy_gateway_operator_cidrs"


def shown(address: str, times: int, last: Denial) -> str:
    """Return one address as a line for a person."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(last.when))
    line = f"{address:39}  {times:6} times, last at {when}: {last.method} {last.target} ({last.reason})"
    return f"{line}\n{advice(address)}" if is_client(last) else line
