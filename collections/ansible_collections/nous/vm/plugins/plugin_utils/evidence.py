# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A controller's copy of the evidence of one host: a folder that only grows."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import typing as t
from pathlib import Path

from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.lines import first_line, opened
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.verify import CHECKPOINTS, JWKS, LOGS, TRAIL, keys, of_folder, verify
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.foreign import printable

Read = t.Callable[[str, int, int], bytes]  # key of a file, start and size: some bytes of a host's file

BLOCK = 1 << 20
ATTEMPTS = 3  # at a log that is rotated meanwhile
PIECE = 16 << 20
FIXED = {"trail": TRAIL, "checkpoints": CHECKPOINTS}


class Moved(NousVmError):
    """A file of the host is not there any more, or is shorter: the log was rotated since it was listed."""


class Copy:
    """The folder of one host."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = self._present()
        self._numbers: dict[str, int] = {}  # the last segment of each log

    def _present(self) -> dict[str, Path]:
        """Return the files that are here, by the keys that the host calls them by. What a segment is, its first line says, not its name."""
        found = {f"{kind}//": self.folder / name for kind, name in FIXED.items()}
        found |= {f"anchors/{path.name}/": path for path in (self.folder / "anchors").glob("*.jsonl")}
        for path in sorted((self.folder / LOGS).glob("*/*.jsonl")):
            with opened(path) as file:
                found[f"log/{path.parent.name}/{hashlib.sha256(first_line(file)).hexdigest()}"] = path
        return {key: path for key, path in found.items() if path.exists()}

    def known(self) -> dict[str, int]:
        """Return how many bytes of each file are here."""
        return {key: path.stat().st_size for key, path in self.paths.items()}

    def place(self, kind: str, name: str, segment: str) -> Path:
        """Return where a file that is not here yet is to be."""
        if kind in FIXED:
            return self.folder / FIXED[kind]
        if kind == "anchors":
            return self.folder / "anchors" / plain(name)
        folder = self.folder / LOGS / plain(name)
        last = max((int(path.name[:6]) for path in folder.glob("[0-9][0-9][0-9][0-9][0-9][0-9]-*.jsonl")), default=0)
        self._numbers[name] = max(self._numbers.get(name, 0), last) + 1
        return folder / f"{self._numbers[name]:06}-{segment[:16]}.jsonl"

    def pin(self, jwks: str) -> str:
        """Keep the key set of the first run; return what is to be said of it."""
        path = self.folder / JWKS
        if not jwks:
            return "the host signs no checkpoints" if not path.exists() else "the host signs no checkpoints any more, though a key of it is pinned"
        if not path.exists():
            append(path, jwks.encode())
            return f"pinned {', '.join(keys(path))} at this first run: compare with what the host's operator knows of it"
        pinned, now = keys(path), self._kids(jwks)
        if set(now) == set(pinned):
            return ""
        return f"the host publishes {', '.join(now)} now, and {', '.join(pinned)} is pinned: what the pinned one did not sign as its successor is not trusted"

    def _kids(self, jwks: str) -> list[str]:
        try:
            return [printable(str(each["kid"]), 100) for each in json.loads(jwks)["keys"]]
        except (ValueError, KeyError, TypeError):
            return ["something that is no JWK set"]

    def verify(self) -> list[dict[str, t.Any]]:
        """Return what is to be said of each part. Raises NousVmError."""
        jwks = self.folder / JWKS
        return [part.document() for part in verify(lambda: of_folder(self.folder), keys(jwks) if jwks.exists() else None)]


def plain(name: str) -> str:
    """Return a name that a host gave, if it is one of a file and no path. Raises NousVmError."""
    if not name or "/" in name or name.startswith(".") or not name.isprintable():
        raise NousVmError(f"the host names a file {printable(name)}")
    return name


def append(path: Path, content: bytes) -> None:
    """Append to a file of the copy, and bring it to the disk; it is made for this user alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sha256(path: Path, size: int) -> str:
    """Return the SHA-256 of the first bytes of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while size > 0 and (block := file.read(min(BLOCK, size))):
            digest.update(block)
            size -= len(block)
    return digest.hexdigest()


class Update:
    """One run: what the host has more of is appended, what it has otherwise is reported."""

    def __init__(self, copy: Copy, read: Read, dry: bool) -> None:
        self.copy, self.read, self.dry = copy, read, dry
        self.fetched: dict[str, int] = {}
        self.differs: list[str] = []

    def take(self, files: list[dict[str, t.Any]]) -> None:
        """Fetch what is new. files: as nous.vm.audit_evidence lists them."""
        following = {each["segment"]: after["segment"] for each, after in itertools.pairwise(files) if each["name"] == after["name"]}
        for about in files:
            key = f"{about['kind']}/{about['name']}/{about['segment']}"
            here = self.copy.paths.get(key)
            if here is None:
                self._fetch(key, self.copy.place(about["kind"], about["name"], about["segment"]), 0, about["size"])
            elif self._agrees(here, about, following.get(about["segment"], "")):
                self._fetch(key, here, here.stat().st_size, about["size"])

    def _fetch(self, key: str, path: Path, start: int, size: int) -> None:
        """Append the bytes from START on, up to SIZE."""
        if size > start:
            self.fetched[str(path.relative_to(self.copy.folder))] = size - start
        target = path if start or not key.startswith("log/") else path.with_name(f".{path.name}.part")  # what has no complete first line is not known again
        if target != path:
            target.unlink(missing_ok=True)
        while start < size and not self.dry:
            content = self.read(key, start, min(PIECE, size - start))
            if not content:
                raise Moved(f"{key} was there and is not any more: the log is rotated again and again, or somebody removed it")
            append(target, content)
            start += len(content)
        if target != path and target.exists():
            target.rename(path)

    def _agrees(self, here: Path, about: dict[str, t.Any], following: str) -> bool:
        """Tell whether what is here is how the host's file begins; report it if not."""
        size, theirs = here.stat().st_size, int(about["size"])
        common = min(size, theirs)
        name = here.relative_to(self.copy.folder)
        if about["sha256"] != sha256(here, common):
            record = self._record(here, f"{about['kind']}/{about['name']}/{about['segment']}", common)
            self.differs.append(f"{name}: record {record} is not what was fetched")
            return False
        if theirs < size and not self._moved(here, theirs, following):
            with here.open("rb") as file:
                record = file.read(theirs).count(b"\n") + 1
            self.differs.append(f"{name}: from record {record} on, what was fetched is not there any more")
            return False
        return True

    def _moved(self, here: Path, size: int, following: str) -> bool:
        """Tell whether what is here and not there is the one record that a rotation moved to the beginning of the next file."""
        with here.open("rb") as file:
            file.seek(size)
            rest = file.read(BLOCK << 6)
        return hashlib.sha256(rest).hexdigest() == following

    def _record(self, here: Path, key: str, most: int) -> int:
        """Return the number of the first record that is not on the host as it is here."""
        records, start = 0, 0
        with here.open("rb") as file:
            while start < most:
                ours, theirs = file.read(min(PIECE, most - start)), self.read(key, start, min(PIECE, most - start))
                same = next((number for number, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]), min(len(ours), len(theirs)))
                records += ours.count(b"\n", 0, same)
                if same < len(ours):
                    break
                start += len(ours)
        return records + 1


def fetch(folder: Path, ask: t.Callable[..., dict[str, t.Any]], read: Read, dry: bool) -> tuple[Update, str]:
    """Fetch what is new; return what was done, and what is to be said of the key. ask: nous.vm.audit_evidence. Raises NousVmError, OSError."""
    fetched: dict[str, int] = {}
    key = ""
    for attempt in range(1, ATTEMPTS + 1):
        copy = Copy(folder)
        update = Update(copy, read, dry)
        listed = ask(known=copy.known())
        try:
            key = key or ("" if dry else copy.pin(listed["jwks"]))
            update.take(listed["files"])
        except Moved:
            fetched |= update.fetched
            if attempt == ATTEMPTS:
                raise
        else:
            update.fetched = fetched | update.fetched
            break
    return update, key
