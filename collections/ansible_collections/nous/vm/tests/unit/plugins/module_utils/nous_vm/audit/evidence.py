# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's evidence in a folder, made as a host makes it but without flags and units, and what root can do to it."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit import signing
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.chain import GENESIS, entry_hash, sha256
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.configuration import Configuration
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.lines import archives, opened
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.report import Fault, Part
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.verify import Evidence, of_folder, verify
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key.jwk import generate_pem
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key.jws import Signer

LOG = "audit.jsonl"


def configuration(folder: Path, name: str = "x", anchors: tuple[str, ...] = ()) -> Configuration:
    """Return a rotation of the log in a folder."""
    known: dict[str, Any] = {
        "name": name,
        "directory": folder,
        "files": (LOG,),
        "anchors": anchors,
        "units": (),
        "owner": "root",
        "group": "root",
        "mode": 0o600,
    }
    known |= {"uid": 0, "gid": 0, "keep": 90, "compress": True, "guard": "off", "reserve": 0}
    return Configuration(**known)


def signer() -> Signer:
    return Signer(generate_pem("EdDSA", 0))


def record(number: int, before: str, **more: object) -> dict[str, Any]:
    made = {"ts": f"2026-11-27T00:00:{number:06}Z", "tool": "ping", "args": {"text": f"é{number}"}, "number": number, **more, "prev_hash": before}
    return made | {"entry_hash": entry_hash(made, "entry_hash")}


def encoded(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


class Estate:
    """The folder of one host."""

    def __init__(self, folder: Path, key: Signer | None = None) -> None:
        self.folder = folder
        self.keys = [key or signer()]
        self.trusted = {self.keys[0].kid: self.keys[0].jwk}
        self.head, self.number, self.day, self.anchor = GENESIS, 0, 0, GENESIS
        self.trail_head = "0" * 64
        self.machine: dict[str, str] | None = None
        self.log, self.checkpoints, self.trail = folder / LOG, folder / "checkpoints.jws", folder / "trail.jsonl"
        folder.mkdir(exist_ok=True)
        for path in (self.log, self.checkpoints, self.trail):
            path.touch()

    # What happens on a host

    def write(self, count: int = 1) -> None:
        """The server records calls."""
        with self.log.open("ab") as log:
            for _each in range(count):
                made = record(self.number, self.head)
                log.write(encoded(made))
                self.head, self.number = made["entry_hash"], self.number + 1

    def happen(self, event: str = "rotated") -> None:
        """Something goes to the trail."""
        line = json.dumps({"previous": self.trail_head, "event": event, "count": self.number}).encode()
        with self.trail.open("ab") as trail:
            trail.write(line + b"\n")
        self.trail_head = sha256(line)

    def pin(self) -> None:
        """The server takes its daily anchor."""
        self.day += 1
        made = {"day": f"day {self.day}", "head": self.head, "prev_anchor_hash": self.anchor}
        made["anchor_hash"] = self.anchor = entry_hash(made, "anchor_hash")
        with (self.folder / "audit-anchors.jsonl").open("ab") as anchors:
            anchors.write(encoded(made))

    def rotate(self, keep: int = 90) -> None:
        """All records but the last go to an archive; the second archive is compressed."""
        lines = self.log.read_bytes().splitlines(keepends=True)
        if len(lines) < 2:
            return
        for path in archives(self.folder, LOG):
            number = int(path.name.split(".")[2]) + 1
            if number > keep:
                path.unlink()
            elif path.suffix == ".gz":
                path.rename(self.folder / f"{LOG}.{number}.gz")
            else:
                (self.folder / f"{LOG}.{number}.gz").write_bytes(gzip.compress(path.read_bytes()))
                path.unlink()
        (self.folder / f"{LOG}.1").write_bytes(b"".join(lines[:-1]))
        self.log.write_bytes(lines[-1])

    def sign(self) -> list[str]:
        """The unit of the checkpoints runs, with the files that it has and the newest key."""
        with ExitStack() as stack:
            paths = [self.log, *[self.folder / f"{LOG}.{each}" for each in ("1", "2.gz") if (self.folder / f"{LOG}.{each}").exists()]]
            logs = [stack.enter_context(opened(path)) for path in paths]
            append = os.open(self.checkpoints, os.O_WRONLY | os.O_APPEND)
            stack.callback(os.close, append)
            files = signing.Files({LOG: logs}, stack.enter_context(self.trail.open("rb")), stack.enter_context(self.checkpoints.open("rb")), append)
            return list(signing.make(files, {each.kid: each for each in self.keys}, self.keys[-1], self.machine))

    def days(self, count: int = 3, keep: int = 90) -> None:
        """Some days as they are: calls, checkpoints, a rotation each."""
        for _day in range(count):
            for _minute in range(3):
                self.write(4)
                self.sign()
            self.pin()
            self.happen()
            self.rotate(keep)
            self.sign()
        self.write(3)
        self.sign()

    # What is looked at

    def verify(self, *left: Path, keep: int | None = None, signed: bool = True) -> dict[str, Part]:
        def find() -> Evidence:
            found = of_folder(self.folder)
            return Evidence(found.logs, found.anchors, found.trail, found.checkpoints, list(left))

        return {part.name: part for part in verify(find, self.trusted if signed else None, keep)}

    def faults(self, *left: Path, keep: int | None = None, signed: bool = True) -> dict[str, Fault]:
        return {name: part.fault for name, part in self.verify(*left, keep=keep, signed=signed).items() if part.fault}

    # What root can do

    def copy(self, folder: Path) -> Path:
        """Take the whole folder away; return the checkpoints in it."""
        shutil.copytree(self.folder, folder)
        return folder / self.checkpoints.name

    def lines(self, name: str) -> list[bytes]:
        with opened(self.folder / name) as file:
            return file.read().splitlines(keepends=True)

    def put(self, name: str, lines: list[bytes]) -> None:
        content = b"".join(lines)
        (self.folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)

    def edit(self, name: str, number: int, change: Callable[[dict[str, Any]], object]) -> None:
        """Change a record, by its number in a file from 1 on, and not its hash."""
        lines = self.lines(name)
        made = json.loads(lines[number - 1])
        change(made)
        lines[number - 1] = encoded(made)
        self.put(name, lines)

    def recompute(self) -> None:
        """Make all hashes of the log anew, so that its chain is consistent."""
        head = GENESIS
        for path in [*archives(self.folder, LOG), self.log]:
            lines = []
            for line in self.lines(path.name):
                made = {name: value for name, value in json.loads(line).items() if name != "entry_hash"} | {"prev_hash": head}
                head = entry_hash(made, "entry_hash")
                lines.append(encoded(made | {"entry_hash": head}))
            self.put(path.name, lines)

    def sign_anew(self) -> None:
        """Make a set of checkpoints of what is there now, with the host's own key."""
        self.checkpoints.write_bytes(b"")
        self.sign()
