# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The build itself, step by step.

The source's own uv.lock says what is installed, hashes checked; a source without one is installed within the constraints.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from typing import Any

from ..errors import NousVmError
from ..foreign import printable
from . import archive, git, lock
from .configuration import Configuration
from .release import VERSION, clear, complete, is_built, make_readable, remove
from .tools import BuildError, Tools


class Builder:
    """A release to be, and the step that is being taken."""

    def __init__(self, configuration: Configuration, tools: Tools) -> None:
        self.configuration, self.tools, self.source = configuration, tools, configuration.source
        self.folder = configuration.releases / configuration.release
        self.tree, self.venv = self.folder / "source", self.folder / "venv"
        self.step = ""

    def run(self) -> dict[str, Any]:
        """Build the release, if it is not built; leave nothing of it if it cannot be built. Return the document that the command prints."""
        result: dict[str, Any] = {"changed": False, "release": self.configuration.release, "reason": None, "step": None}
        if is_built(self.tools, self.folder):
            return result
        try:
            self.make()
        except (NousVmError, OSError) as error:
            with contextlib.suppress(OSError):
                remove(self.folder)
            why = error if isinstance(error, NousVmError) else f"error: {error}"
            reason = f'{self.source["description"]} gave no release: "{self.step}" failed with {why}'
            return result | {"reason": reason, "step": self.step}
        finally:
            if self.configuration.archive:
                self.configuration.archive.unlink(missing_ok=True)
        return result | {"changed": True}

    def make(self) -> None:
        """Build the release."""
        self.step = "Query the interpreter for its version"
        python = self.tools.run(self.configuration.python, "-c", VERSION)
        self.step = "Make room for it"
        clear(self.configuration.releases, self.configuration.release)
        self.folder.mkdir(exist_ok=True)
        commit = self.fetch()
        locked = self.install()
        if self.configuration.extra_requirements:
            self.add()
        if self.tree.exists():
            self.compile()
            shutil.rmtree(self.tree / ".git", ignore_errors=True)
        self.step = "Make it readable for the server"
        make_readable(self.folder)
        self.step = "Write down that the release is complete"
        about = {"release": self.configuration.release, "source": self.source["description"], "commit": commit, "locked": locked, "python": python}
        complete(self.tools, self.folder, about | {"built_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})

    def fetch(self) -> str | None:
        """Get the source; return its commit, if it has one."""
        if self.source["kind"] == "git":
            self.step = "Fetch the source from git"
            return git.fetch(self.tools, self.tree, self.source["url"], self.source["ref"])
        if path := self.configuration.archive:
            self.step = "Read the archive"
            archive.verify(path, self.source["sha256"])
            if path.suffix != ".whl":
                self.step = "Unpack the source archive"
                archive.unpack(path, self.tree)
        return None

    def install(self) -> bool:
        """Install the server and what it needs; return whether a lock said what."""
        python = self.configuration.python
        if (path := self.tree / "uv.lock").exists():
            self.step = "Read the source's lock"
            lock.check(path)
            self.step = "Install what the lock says, hashes checked"
            self.tools.run(self.configuration.uv, "sync", "--project", self.tree, "--python", python, "--frozen", "--no-dev", "--compile-bytecode")
            return True
        self.step = "Make a virtual environment"
        self.tools.run(self.configuration.uv, "venv", "--python", python, self.venv)
        self.step = "Install the server"
        constraints = self.folder / "constraints.txt"
        constraints.write_text("".join(f"{line}\n" for line in self.source["constraints"]), encoding="utf-8")
        what = ["--editable", str(self.tree)] if self.tree.exists() else [str(self.configuration.archive or self.source["requirement"])]
        pip = ["pip", "install", "--python", str(self.venv / "bin/python"), "--compile-bytecode", "--constraint", str(constraints)]
        self.tools.run(self.configuration.uv, *pip, *what)
        return False

    def add(self) -> None:
        """Install the extra requirements; raise BuildError if they change what is there, or lack something."""
        self.step = "Install the extra requirements, hashes checked"
        python = ["--python", str(self.venv / "bin/python")]
        extra = self.folder / "extra-requirements.txt"
        extra.write_text(self.configuration.extra_requirements, encoding="utf-8")
        before = self.tools.run(self.configuration.uv, "pip", "freeze", *python).splitlines()
        pip = ["pip", "install", *python, "--no-deps", "--require-hashes", "--only-binary", ":all:", "--compile-bytecode", "--requirement", str(extra)]
        self.tools.run(self.configuration.uv, *pip)
        changed = set(before) - set(self.tools.run(self.configuration.uv, "pip", "freeze", *python).splitlines())
        if changed:
            raise BuildError(f"error: they replace {', '.join(map(printable, sorted(changed)))}, which the release needs as it is")
        self.tools.run(self.configuration.uv, "pip", "check", *python)

    def compile(self) -> None:
        """Compile the source's own modules, because the server cannot write there."""
        self.step = "Compile the source's own modules"
        modules = self.tree / "src" if (self.tree / "src").exists() else self.tree
        self.tools.run(self.venv / "bin/python", "-m", "compileall", "-q", modules)
