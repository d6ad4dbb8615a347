# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A place to build in, with units that do what they are told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build import stream
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.builder import Builder
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.configuration import Configuration, load
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.pylock import Package, told
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.store import Store
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.unit import Answer

COMMIT, NAME = "0123456789ab" + "0" * 28, "git-0123456789ab-py3.13"


def raising(error: Exception) -> Callable[..., Any]:
    """Return a function that fails, whatever it is given."""

    def fail(*_arguments: object) -> Any:
        raise error

    return fail


def package(name: str, content: bytes = b"content", file: str = "") -> Package:
    return Package(name, "1.0", "", file or f"{name}-1.0-py3-none-any.whl", f"https://x/{name}", hashlib.sha256(content).hexdigest())


DEP, BACKEND, MORE = (package(name, name.encode()) for name in ("dep", "backend", "more"))


EXTRA = f"dep==1.0 --hash=sha256:{'0' * 64}\nMore==1.0 --hash=sha256:{MORE.sha256} --hash=sha256:{'0' * 64}\n"


class Units:
    """The two units: what they are asked for, and what they answer."""

    def __init__(self, work: Path) -> None:
        self.work, self.asked = work, list[tuple[str, dict[str, Any]]]()
        self.source: dict[str, Any] = {"commit": COMMIT, "signer": None, "locked": True, "packages": told([DEP]), "builds": "key", "needed": []}
        self.contents = {each.sha256: each.name.encode() for each in (DEP, BACKEND, MORE)}
        self.extra = [DEP, MORE]
        self.needs: list[list[list[str]]] = []
        self.lock = "fits"
        self.act: Callable[[Path], None] = lambda _folder: None

    def fetch(self, request: dict[str, Any], into: Path) -> Answer:
        self.asked.append((request["do"], json.loads(json.dumps(request))))
        if request["do"] == "source":
            self.put(into / "source", {"uv.lock": b"", "src/nous.py": b"x"})
            return Answer(self.source, stream.read(into))
        if request["do"] == "files":
            self.put(into, {each["sha256"]: self.contents[each["sha256"]] for each in request["packages"]})
        return Answer({"packages": told(self.extra if request["do"] == "extra" else [BACKEND])}, stream.Tree("", 0, 0))

    def build(self, request: dict[str, Any], into: Path) -> Answer:
        shown = {path.name: path.read_bytes() for path in (self.work / "files").iterdir()}
        self.asked.append(("build", request | {"files": shown}))
        if self.needs:
            return Answer({"needs": self.needs.pop()}, stream.Tree("", 0, 0))
        there = ["dep", *(["more"] if request["extra"] else [])]
        self.put(into, {"venv/bin/run": b""} | {f"venv/lib/python3.13/site-packages/{each}-1.0.dist-info/METADATA": b"" for each in there})
        (into / "venv/bin/python").symlink_to("/usr/bin/env")
        self.act(into)
        return Answer({"lock": self.lock}, stream.read(into))

    @staticmethod
    def put(folder: Path, files: dict[str, bytes]) -> None:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)

    def words(self) -> list[str]:
        return [word for word, _request in self.asked]


class Place:
    """A host to build on."""

    def __init__(self, root: Path) -> None:
        self.root, self.units, self.store = root, Units(root / "work"), Store(root / "store")
        self.folder = root / "releases" / NAME

    def run(self, again: bool = False, name: str = NAME, **source: Any) -> dict[str, Any]:
        made = configured(self.root, name, **source)
        for folder in (made.releases, made.building):
            folder.mkdir(exist_ok=True)
        return Builder(made, self.units, self.store).run(again)  # type: ignore[arg-type]

    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "release.json").read_bytes())
        return found


def about(root: Path, name: str = NAME, extra: str = "", **source: Any) -> dict[str, Any]:
    given = {"kind": "git", "url": "https://x/nous.git", "ref": "main", "signers": [], "constraints": ["mcp<2"], "description": "the source"}
    known = {"root": str(root), "python": "/usr/bin/python3", "uv": "/opt/uv/bin/uv", "environment": {}, "space": 64, "lock": source.pop("lock", "warn")}
    return {"release": name, "extra_requirements": extra, "source": given | source} | known


def configured(root: Path, name: str = NAME, **source: Any) -> Configuration:
    path = root / "build.json"
    path.write_text(json.dumps(about(root, name, **source)), encoding="utf-8")
    return load(str(path))
