# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs in the build unit: it may run whatever the source says, and has no network, no other process, and nothing of the host but what is lent to it.

The request as JSON on standard input is answered by a stream (stream.py) on standard output: the folders source and venv, and what was found out about the
lock; or by what the build itself needs and was not given ("needs"), which the fetch unit resolves.
"""

from __future__ import annotations

import json
import shutil
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import ForeignError
from ..foreign import printable, read_file
from . import pylock, stream
from .tools import BuildError, Tools

SOURCE, FILES = Path("/fetched/source"), Path("/fetched/files")
REQUEST, PROJECT, LOCK = 32 << 20, 4 << 20, 32 << 20  # bytes
BYTE_CODE = "CHECKED_HASH"  # by what its source has in it: root writes the files down anew, each with a time of its own, and byte code by time would be stale
LEGACY = {"requires": ["setuptools>=40.8.0"], "build-backend": "setuptools.build_meta:__legacy__"}
# Of PEP 517: what else a backend needs. Its own words on standard output are no answer.
HOOK = """
import importlib, json, sys
about = json.loads(sys.argv[1])
sys.path[:0] = about["path"]
module, _colon, name = about["backend"].partition(":")
backend = importlib.import_module(module)
for each in filter(None, name.split(".")):
    backend = getattr(backend, each)
hook = getattr(backend, about["hook"], None)
needs = [str(each) for each in (hook({}) if hook else [])]
with open(about["answer"], "w") as file:
    json.dump(needs, file)
"""


class Make:
    """A release in the making. folder: where it will be, empty now."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request, self.folder = request, Path(request["folder"])
        self.tree, self.venv, self.work = self.folder / "source", self.folder / "venv", self.folder / ".work"
        self.work.mkdir()
        environment = {"HOME": self.work, "TMPDIR": self.work, "UV_CACHE_DIR": self.work / "cache", "UV_PROJECT_ENVIRONMENT": self.venv}
        words = {"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin", "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never", "UV_OFFLINE": "1", "UV_NO_CONFIG": "1"}
        words["PYC_INVALIDATION_MODE"] = BYTE_CODE  # for uv
        self.tools = Tools(words | {name: str(path) for name, path in environment.items()})
        self.packages = pylock.received(request["packages"])
        self.step = ""

    def run(self) -> dict[str, Any]:
        """Build the release; return what was found out, or what is needed for it."""
        self.step = "Copy the source"
        if self.request["source"]:
            shutil.copytree(SOURCE, self.tree, symlinks=True)
        self.step = "Find out what the build itself needs"
        if needs := [group for number, place in enumerate(self.sources()) if (group := self.lacks(number, *place))]:
            return {"needs": needs}
        lock = self.lock() if (self.tree / "uv.lock").exists() else "none"
        self.step = "Make a virtual environment"
        self.tools.run(self.request["uv"], "venv", "--quiet", "--python", self.request["python"], self.venv)
        self.step = "Install what it needs, hashes checked"
        (self.work / "requirements.txt").write_text("".join(f"{each.requirement}\n" for each in self.packages), encoding="utf-8")
        self.install(self.venv, "--no-deps", "--require-hashes", "--compile-bytecode", "--requirement", str(self.work / "requirements.txt"))
        self.step = "Install the server"
        if self.tree.exists():
            self.install(self.venv, "--no-deps", "--editable", str(self.tree))
            self.compile()
        elif self.request["wheel"]:
            self.install(self.venv, "--no-deps", "--compile-bytecode", str(FILES / self.request["wheel"]))
        if self.request["extra"]:
            self.add(self.request["extra"])
        return {"lock": lock}

    def install(self, environment: Path, *what: str) -> None:
        """Install from what was fetched, and from nothing else."""
        python = str(environment / "bin/python")
        self.tools.run(self.request["uv"], "pip", "install", "--quiet", "--python", python, "--no-index", "--find-links", FILES, *what)

    def add(self, extra: str) -> None:
        """Install the extra requirements; raise BuildError if they change what is there, or lack something."""
        self.step = "Install the extra requirements, hashes checked"
        (self.work / "extra.txt").write_text(extra, encoding="utf-8")
        before = self.installed()
        how = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--compile-bytecode"]
        self.install(self.venv, *how, "--requirement", str(self.work / "extra.txt"))
        if changed := before - self.installed():
            raise BuildError(f"error: they replace {', '.join(map(printable, sorted(changed)))}, which the release needs as it is")
        self.tools.run(self.request["uv"], "pip", "check", "--python", self.venv / "bin/python")

    def installed(self) -> set[str]:
        """Return what is installed, each with its version."""
        return set(self.tools.run(self.request["uv"], "pip", "freeze", "--quiet", "--python", self.venv / "bin/python").splitlines())

    def sources(self) -> Iterator[tuple[Path, str]]:
        """Yield the folders that have to be built, with the hook of their backend that tells what that needs."""
        if self.tree.exists():
            yield self.tree, "get_requires_for_build_editable"
        for package in self.packages:
            if package.is_source and (FILES / package.file).exists():
                aside = self.work / f"{package.name}-{package.version}-source"
                shutil.unpack_archive(FILES / package.file, aside, filter=None if package.file.endswith(".zip") else "data")
                top = next((path for path in aside.iterdir() if path.is_dir()), None)
                if top is None:
                    raise BuildError(f"error: {package.file} has no folder at its top")
                yield top, "get_requires_for_build_wheel"

    def lacks(self, number: int, folder: Path, hook: str) -> list[str]:
        """Return all that a build of a folder needs, if some of it was not fetched; nothing otherwise."""
        try:
            project = tomllib.loads(read_file(folder / "pyproject.toml", PROJECT).decode())
        except FileNotFoundError:
            project = {}
        except (ValueError, ForeignError) as error:
            raise BuildError(f"error: {folder.name}/pyproject.toml cannot be read: {printable(str(error))}") from error
        system = project.get("build-system", LEGACY)
        backend, needs = str(system.get("build-backend", LEGACY["build-backend"])), [str(each) for each in system.get("requires", [])]
        if backend == "uv_build":  # uv has it in itself
            return []
        environment, answer = self.work / f"backend-{number}", self.work / f"needs-{number}"
        self.tools.run(self.request["uv"], "venv", "--quiet", "--python", self.request["python"], environment)
        if needs and not self.can_install(environment, needs):
            return needs
        paths = [str(folder / each) for each in system.get("backend-path", [])]
        about = {"path": paths, "backend": backend, "hook": hook, "answer": str(answer)}
        self.tools.run(environment / "bin/python", "-c", HOOK, json.dumps(about), cwd=folder)
        more = [str(each) for each in json.loads(read_file(answer))]
        return [*needs, *more] if more and not self.can_install(environment, more) else []

    def can_install(self, environment: Path, what: list[str]) -> bool:
        try:
            self.install(environment, "--", *what)
        except BuildError:
            return False
        return True

    def lock(self) -> str:
        """Return whether the lock fits the source ("fits", "stale"), or why nobody can tell: without a network, uv resolves nothing anew."""
        self.step = "Compare the lock with the source"
        names = [str(each.get("source", {}).get("registry", "")) for each in tomllib.loads(read_file(self.tree / "uv.lock", LOCK).decode())["package"]]
        first, *more = [each for each in dict.fromkeys(names) if urlsplit(each).scheme in ("http", "https")] or ["https://pypi.org/simple"]
        indexes = ["--default-index", first, *(word for each in more for word in ("--index", each))]
        done = self.tools.ask(self.request["uv"], "lock", "--check", "--python", self.request["python"], "--find-links", FILES, *indexes, cwd=self.tree)
        if done.returncode == 0:
            return "fits"
        told = b"network was disabled" in done.stderr or b"needs to be updated" in done.stderr
        return "stale" if told else f"unknown: {done.complaint}"

    def compile(self) -> None:
        """Compile the source's own modules, because the server cannot write there."""
        self.step = "Compile the source's own modules"
        modules = self.tree / "src" if (self.tree / "src").exists() else self.tree
        self.tools.run(self.venv / "bin/python", "-m", "compileall", "-q", "--invalidation-mode", BYTE_CODE.lower().replace("_", "-"), modules)


def main() -> None:
    """Answer the request on standard input."""
    made = Make(json.loads(sys.stdin.buffer.read(REQUEST)))
    try:
        result = made.run()
    except (BuildError, ForeignError, OSError, ValueError, LookupError, shutil.ReadError, tarfile.TarError) as error:
        text = str(error) if isinstance(error, (BuildError, ForeignError)) else f"error: {error!r}"
        stream.finish(sys.stdout.buffer, {"error": text, "step": made.step})
        return
    if "needs" not in result:
        stream.send(made.folder, [each.name for each in (made.tree, made.venv) if each.exists()], sys.stdout.buffer)
    stream.finish(sys.stdout.buffer, result)
