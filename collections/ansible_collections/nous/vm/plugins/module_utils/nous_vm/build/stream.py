# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder as a stream of bytes: how a sandbox hands root what it made.

Root opens nothing in a sandbox's folder: whatever is a link, a FIFO, a device, sparse or without end there cannot lead it anywhere. It writes files of its own
from what comes through a pipe: regular files, folders and links, each with a line of JSON before it, within limits of number and size.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from ..errors import ForeignError
from ..foreign import ANY, open_file, parse_json, printable

HEADER = 1 << 16  # bytes of a line of JSON
RESULT = 16 << 20  # bytes of the last one
ENTRIES = 200_000  # files, folders and links together
BLOCK = 1 << 20


class EndedError(ForeignError):
    """The stream ended before it was complete: who sent it can tell why."""


class Tree(NamedTuple):
    """What a folder holds. digest: of every path, mode and content in it."""

    digest: str
    entries: int
    size: int


class Lines:
    """What a folder holds, a line for each entry, from which its digest is made."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.size = 0

    def add(self, path: str, kind: str, content: str, size: int = 0) -> None:
        """Add a folder (d), a file (f, or x if it is executable) with its SHA-256, or a link (l) with its target."""
        self.lines.append(json.dumps([path, kind, content]))
        self.size += size

    def tree(self) -> Tree:
        """Return what all of them come to, in whatever order they came."""
        return Tree(hashlib.sha256("\n".join(sorted(self.lines)).encode()).hexdigest(), len(self.lines), self.size)


def send(folder: Path, names: Collection[str], out: IO[bytes]) -> None:
    """Write what a folder has of these names, all that is below them included."""
    for name in sorted(names):
        top = folder / name
        for place, folders, files in os.walk(top) if top.is_dir() and not top.is_symlink() else [(str(folder), [], [name])]:
            if place != str(folder):
                _line(out, {"path": os.path.relpath(place, folder), "kind": "d"})
            linked = [each for each in folders if os.path.islink(os.path.join(place, each))]
            for each in sorted([*files, *linked]):
                _send_one(Path(place, each), os.path.relpath(os.path.join(place, each), folder), out)


def _send_one(path: Path, name: str, out: IO[bytes]) -> None:
    if path.is_symlink():
        _line(out, {"path": name, "kind": "l", "content": os.readlink(path)})
        return
    with open_file(path, ANY) as file:
        about = os.fstat(file.fileno())
        _line(out, {"path": name, "kind": "x" if about.st_mode & 0o111 else "f", "size": about.st_size})
        while block := file.read(BLOCK):
            out.write(block)


def finish(out: IO[bytes], result: dict[str, Any]) -> None:
    """Write the last line, after which nothing comes."""
    _line(out, {"kind": "result"} | result)
    out.flush()


def _line(out: IO[bytes], entry: dict[str, Any]) -> None:
    out.write(json.dumps(entry).encode() + b"\n")


class Receiver:
    """A folder that is written from a stream, within a limit of bytes, with links to nothing outside it but LINKS."""

    def __init__(self, folder: Path, limit: int, links: Collection[str] = ()) -> None:
        self.folder, self.left, self.links = folder, limit, links
        self.seen: set[str] = set()
        self.folders: set[str] = {""}
        self.lines = Lines()

    def receive(self, source: IO[bytes]) -> dict[str, Any]:
        """Write what comes; return the result at its end. Raises ForeignError, OSError."""
        while True:
            line = source.readline(RESULT)
            if not line.endswith(b"\n"):
                raise EndedError("it ended in the middle") if len(line) < RESULT else ForeignError("its answer is too large")
            entry = parse_json(line, "an entry")
            if entry.get("kind") == "result":
                return entry
            if len(line) > HEADER or len(self.seen) >= ENTRIES:
                raise ForeignError(f"it has more than {ENTRIES} entries, or one with a name of more than {HEADER} bytes")
            self._write(self._name(entry.get("path")), entry, source)

    def _name(self, path: object) -> str:
        """Return a path that is below the folder, in a folder that came before, and did not come before itself."""
        name = str(path)
        parts = PurePosixPath(name).parts
        if not isinstance(path, str) or not parts or name != "/".join(parts) or {"..", "/"} & {*parts} or "\0" in name or len(name) > 4000:
            raise ForeignError(f"{printable(name)} is no path below the folder")
        if name in self.seen or "/".join(parts[:-1]) not in self.folders:
            raise ForeignError(f"{printable(name)} comes twice, or before its folder")
        self.seen.add(name)
        return name

    def _write(self, name: str, entry: dict[str, Any], source: IO[bytes]) -> None:
        kind, path = entry.get("kind"), self.folder / name
        if kind == "d":
            path.mkdir(mode=0o755)
            path.chmod(0o755)
            self.folders.add(name)
            self.lines.add(name, "d", "")
        elif kind == "l":
            target = str(entry.get("content"))
            if target not in self.links and not stays(name, target):
                raise ForeignError(f"{printable(name)} is a link to {printable(target)}, which is outside")
            path.symlink_to(target)
            self.lines.add(name, "l", target)
        elif kind in ("f", "x") and isinstance(entry.get("size"), int) and entry["size"] >= 0:
            self.lines.add(name, kind, self._file(path, kind, entry["size"], source), entry["size"])
        else:
            raise ForeignError(f"{printable(name)} is neither a file, a folder nor a link")

    def _file(self, path: Path, kind: str, size: int, source: IO[bytes]) -> str:
        """Write a file and return its SHA-256."""
        self.left -= size
        if self.left < 0:
            raise ForeignError("it is larger than there is room for")
        known = hashlib.sha256()
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb", buffering=0) as file:
            while size:
                block = source.read(min(size, BLOCK))
                if not block:
                    raise EndedError("it ended in the middle of a file")
                known.update(block)
                size -= file.write(block)
            os.fchmod(file.fileno(), 0o755 if kind == "x" else 0o644)
        return known.hexdigest()


def digest(path: Path | str) -> str:
    """Return the SHA-256 of a foreign file of any size. Raises OSError, ForeignError."""
    known = hashlib.sha256()
    with open_file(path, ANY) as file:
        while block := file.read(BLOCK):
            known.update(block)
    return known.hexdigest()


def stays(name: str, target: str) -> bool:
    """Tell whether a link leads to something below the folder: it may go up as far as the folder, and down after that only."""
    parts = target.split("/")
    up = len(list(_leading(parts)))
    return bool(target) and not target.startswith("/") and "\0" not in target and ".." not in parts[up:] and up <= name.count("/")


def _leading(parts: list[str]) -> list[str]:
    return parts[: next((number for number, part in enumerate(parts) if part != ".."), len(parts))]


def read(folder: Path, besides: Collection[str] = (), contents: bool = True) -> Tree:
    """Return what a folder holds now, without what is BESIDES at its top. Raises OSError, ForeignError for what is no file, folder or link.

    contents: whether to read the files; without, number and size are all that is right.
    """
    lines = Lines()
    for place, folders, files in os.walk(folder, onerror=_fail):
        inner = "" if place == str(folder) else f"{os.path.relpath(place, folder)}/"
        for each in [*folders, *files]:
            name, path = f"{inner}{each}", os.path.join(place, each)
            if name in besides:
                continue
            about = os.lstat(path)
            mode = about.st_mode
            if stat.S_ISLNK(mode):
                lines.add(name, "l", os.readlink(path))
            elif stat.S_ISDIR(mode):
                lines.add(name, "d", "")
            elif contents:
                lines.add(name, "x" if mode & 0o111 else "f", digest(path), about.st_size)
            else:
                lines.add(name, "f", "", about.st_size)
    return lines.tree()


def _fail(error: OSError) -> None:
    raise error
