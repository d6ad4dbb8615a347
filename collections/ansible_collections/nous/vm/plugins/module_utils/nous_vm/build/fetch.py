# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs in the fetch unit: it has the network, an account that owns nothing, and runs nothing of the source.

One request as JSON on standard input, by its key "do", is answered by a stream (stream.py) on standard output:

newest    the newest commit of a branch
source    the folder source, and which packages it needs (pylock.py)
resolve   packages for requirements of builds, none of which has to be built
extra     packages for extra requirements (extra.py)
files     the files of packages
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ForeignError
from ..foreign import read_file
from . import archive, extra, git, pylock, stream
from .download import download
from .tools import BuildError, Tools

ARCHIVES = Path("/archive")  # what was sent, under its name
REQUEST = 32 << 20  # bytes
PROJECT = 4 << 20  # bytes of a pyproject.toml
SSH = ["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes"]


def prepare(home: Path, given: dict[str, str]) -> dict[str, str]:
    """Return the environment of git and uv, with what root lent this unit of its keys and passwords."""
    lent = Path(os.environ.get("CREDENTIALS_DIRECTORY", "/nowhere"))
    keys = [word for path in sorted(lent.glob("id_*")) for word in ("-i", str(path))]
    hosts = f"UserKnownHostsFile={lent}/known_hosts /etc/ssh/ssh_known_hosts"
    settings = "[safe]\n\tdirectory = *\n" + (f"[credential]\n\thelper = store --file {lent}/git-credentials\n" if (lent / "git-credentials").exists() else "")
    (home / ".gitconfig").write_text(settings, encoding="utf-8")
    if (lent / "netrc").exists():
        (home / ".netrc").symlink_to(lent / "netrc")
    made = {
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
        "PATH": "/usr/bin:/bin",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_HTTP_LOW_SPEED_LIMIT": "1000",  # bytes a second: a server that stalls must not hold the build for ever
        "GIT_HTTP_LOW_SPEED_TIME": "60",
        "GIT_SSH_COMMAND": " ".join(["ssh", *SSH, *keys, "-o", f"'{hosts}'"]),
        "NETRC": str(home / ".netrc"),
        "UV_CACHE_DIR": str(home / "cache"),
        "UV_NO_PROGRESS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_SYSTEM_CERTS": "1",
    }
    return made | given


class Fetch:
    """A request, the folder that it is answered from, and the programs."""

    def __init__(self, request: dict[str, Any], folder: Path, tools: Tools) -> None:
        self.request, self.folder, self.tools = request, folder, tools
        self.source: dict[str, Any] = request.get("source", {})
        self.tree = folder / "source"
        self.host = pylock.Host.here(request["version"])
        self.step = ""

    def answer(self) -> dict[str, Any]:
        """Do what is requested; return the result."""
        act = {"newest": self.newest, "source": self.fetch, "resolve": self.resolve, "extra": self.extra, "files": self.files}[self.request["do"]]
        return act()

    def newest(self) -> dict[str, Any]:
        self.step = "Query the repository"
        return {"commit": git.newest_commit(self.tools, self.source)}

    def files(self) -> dict[str, Any]:
        self.step = "Download what it needs"
        download(pylock.received(self.request["packages"]), self.folder, self.request["space"])
        return {}

    def resolve(self) -> dict[str, Any]:
        """Resolve each group of requirements for itself, to wheels alone: a build of theirs would run what nobody named."""
        self.step = "Resolve what the build itself needs"
        texts = [self.compile(group, "--only-binary", ":all:") for group in self.request["requirements"]]
        return {"packages": pylock.told(dict.fromkeys(each for text in texts for each in pylock.parse(text, "what the build needs", self.host)))}

    def extra(self) -> dict[str, Any]:
        """Find the wheels that extra requirements name, by the hashes that they have."""
        self.step = "Resolve the extra requirements"
        given = self.request["requirements"]
        text = self.compile(given.splitlines(), "--no-deps", "--only-binary", ":all:")
        return {"packages": pylock.told(pylock.parse(text, "nous_service_extra_requirements", self.host, extra.hashes(given)))}

    def fetch(self) -> dict[str, Any]:
        """Get the source, and find out what it needs."""
        commit = signer = None
        sent = ARCHIVES / self.source.get("name", "")
        if self.source["kind"] == "git":
            self.step = "Fetch the source from git"
            commit, signer = git.fetch(self.tools, self.tree, self.source)
            for left in self.tree.rglob(".git"):
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        elif self.source["kind"] == "archive" and sent.suffix != ".whl":
            self.step = "Unpack the source archive"
            archive.unpack(sent, self.tree)
        locked = (self.tree / "uv.lock").exists()
        packages = self.locked() if locked else self.unlocked(sent)
        found = {"commit": commit, "signer": signer, "locked": locked, "packages": pylock.told(packages), "builds": self.builds(packages)}
        return found | {"needed": pylock.told([] if found["builds"] in self.request["resolved"] else self.needed())}

    @functools.cached_property
    def build_system(self) -> Any:
        """Return what the source says of its own build; None if it says nothing that can be read."""
        try:
            return tomllib.loads(read_file(self.tree / "pyproject.toml", PROJECT).decode()).get("build-system")
        except (OSError, ValueError, ForeignError):
            return None

    def needed(self) -> list[pylock.Package]:
        """Return what the source says that its build needs, if that can be resolved: its backend would ask for it, after a build that came to nothing."""
        system = self.build_system
        try:
            wanted = [str(each) for each in system["requires"]] if system and system.get("build-backend") != "uv_build" else []
            return pylock.parse(self.compile(wanted, "--only-binary", ":all:"), "what the build needs", self.host) if wanted else []
        except (BuildError, LookupError, TypeError, AttributeError):
            return []

    def builds(self, packages: list[pylock.Package]) -> str:
        """Return a digest of all that is built: for the same, the same requirements of builds are taken as the last time."""
        what = [self.build_system, sorted(each.sha256 for each in packages if each.is_source), self.request["version"], self.request["environment"]]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()

    def locked(self) -> list[pylock.Package]:
        """Return what the source's own lock says; its hashes are checked here, at the download and at the installation."""
        self.step = "Read the source's lock"
        try:
            pylock.check_lock(read_file(self.tree / "uv.lock", REQUEST).decode())
        except ValueError as error:
            raise BuildError(f"error: uv.lock cannot be read: {error}") from error
        export = ["export", "--quiet", "--frozen", "--offline", "--no-dev", "--no-emit-project", "--format", "pylock.toml"]
        text = self.tools.run(self.request["uv"], *export, "--python", self.request["python"], cwd=self.tree)
        return pylock.parse(text, "uv.lock", self.host)

    def unlocked(self, sent: Path) -> list[pylock.Package]:
        """Return what fits the requirements and the constraints now."""
        self.step = "Resolve what the server needs"
        if self.source["kind"] == "index":
            wanted = [self.source["requirement"]]
        elif sent.suffix == ".whl":
            wanted = [f"nous @ {sent.as_uri()}"]
        else:
            wanted = self.dependencies()
        text = self.compile(wanted, "--no-build", constraints=self.request["constraints"]) if wanted else ""
        return pylock.parse(text, "the resolution", self.host)

    def dependencies(self) -> list[str]:
        """Return what a source without a lock says that it needs; only its own build could tell what is dynamic."""
        try:
            project = tomllib.loads(read_file(self.tree / "pyproject.toml", PROJECT).decode())["project"]
            if "dependencies" in project.get("dynamic", []):
                raise BuildError("error: its dependencies are dynamic, which takes a uv.lock")
            return [str(each) for each in project.get("dependencies", [])]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, ForeignError) as error:
            raise BuildError(f"error: without a uv.lock its pyproject.toml has to say what it needs: {error!r}") from error

    def compile(self, wanted: list[str], *how: str, constraints: Sequence[str] = ()) -> str:
        """Have uv resolve requirements within constraints, and return a pylock.toml."""
        within = self.folder / "constraints.txt"
        within.write_text("".join(f"{line}\n" for line in constraints), encoding="utf-8")
        argv = [self.request["uv"], "pip", "compile", "-", "--quiet", "--format", "pylock.toml", "--python", self.request["python"], *how]
        return self.tools.run(*argv, "--constraint", within, stdin="".join(f"{line}\n" for line in wanted).encode())


def main() -> None:
    """Answer the request on standard input."""
    request = json.loads(sys.stdin.buffer.read(REQUEST))
    with tempfile.TemporaryDirectory(dir=request["folder"]) as place:
        home, folder = Path(place, "home"), Path(place, "made")
        home.mkdir()
        folder.mkdir()
        made = Fetch(request, folder, Tools(prepare(home, request["environment"])))
        try:
            result = made.answer()
        except (BuildError, ForeignError, OSError) as error:
            stream.finish(sys.stdout.buffer, {"error": str(error) if isinstance(error, (BuildError, ForeignError)) else f"error: {error}", "step": made.step})
            return
        stream.send(folder, [path.name for path in folder.iterdir() if path.name != "constraints.txt"], sys.stdout.buffer)
        stream.finish(sys.stdout.buffer, result)
