# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generations: all that a deployment consists of, as one complete folder that is never changed after, and one link to the current one.

/etc/nous-vm/generations/N     units, environment, configuration of the proxy, as the role requested them, with a reference to the release
/etc/nous-vm/current           the link that moves, in one rename; rolling back moves it too
/etc/systemd/system/UNIT       a link to current/UNIT, made once

A unit of a generation names the generation's files and its release by absolute paths: where the role writes CURRENT or ROOT/current, the generation says
which. So what systemd has loaded goes together, whenever the link moves, until it is reloaded. Secrets and credentials are not in here: they have a line of
their own, and rolling back brings no revoked one back.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..atomic import read_json, symlink, sync_directory, write
from ..errors import NousVmError
from ..foreign import read_file
from ..names import Names
from .configuration import Configuration

ABOUT, IDENTITY = "generation.json", "identity"
UNIT = (".service", ".socket", ".timer")


class Generation(NamedTuple):
    """A generation that is complete. accepted: 0 if it never answered, else the higher the later it did last. digest: of the release and all files."""

    number: int
    release: str
    digest: str
    settings: str
    address: str
    host: str
    accepted: int = 0


class Generations:
    """The folder of the generations, the link to the current one, and the files that the role requested."""

    def __init__(self, configuration: Configuration, names: Names) -> None:
        self.configuration, self.names = configuration, names
        self.folder, self.link, self.files = configuration.path.parent / "generations", configuration.current, configuration.files

    def all(self) -> list[Generation]:
        """Return the generations that are complete, by their numbers."""
        found = [about for path in self.folder.glob(f"[0-9]*/{ABOUT}") if (about := read_json(path))]
        return sorted((Generation(**about) for about in found), key=lambda each: each.number)

    def numbered(self, number: int) -> Generation:
        """Return a generation; raise NousVmError if it is not there."""
        about = read_json(self.folder / str(number) / ABOUT)
        if not about:
            raise NousVmError(f"{self.folder / str(number)} is not complete")
        return Generation(**about)

    def path(self, made: Generation) -> Path:
        """Return the folder of a generation."""
        return self.folder / str(made.number)

    def current(self) -> Generation | None:
        """Return the current generation."""
        about = read_json(self.link / ABOUT) if self.link.is_symlink() else {}
        return Generation(**about) if about else None

    def accepted(self) -> list[Generation]:
        """Return the generations that answered once, the one that did last at the end."""
        return sorted((each for each in self.all() if each.accepted), key=lambda each: each.accepted)

    def of(self, release: str) -> Generation | None:
        """Return the last generation with a release that answered."""
        return next((each for each in reversed(self.accepted()) if each.release == release), None)

    def settings(self) -> str:
        """Return a digest of what the server would be started with: a release that failed with other settings may answer with these."""
        private = [read_file(path) for path in self.configuration.credentials.values() if path.suffix == ".env"]
        return digest([*(self._content(name) for name in (self.names.server, "nous.env")), *private])

    def requested(self, release: str) -> str:
        """Return the digest of the generation that the role's files and a release make."""
        return digest([release.encode(), *(name.encode() + b"\0" + self._content(name) for name in sorted(self.files))])

    def prepare(self, release: str) -> Generation:
        """Return the generation that the role's files and a release make. What is there already is not made again. Raises OSError."""
        wanted, known = self.requested(release), self.all()
        current = self.current()
        if current and current.digest == wanted:
            return current
        if same := [each for each in known if each.digest == wanted]:
            return same[-1]
        self.folder.mkdir(mode=0o755, exist_ok=True)
        for left in self.folder.glob(".*.partial"):
            shutil.rmtree(left)
        number = max((int(path.name) for path in self.folder.glob("[0-9]*")), default=0) + 1
        about = self.configuration
        made = Generation(number, release, wanted, self.settings(), about.address, about.host)
        folder = self.folder / f".{number}.partial"
        folder.mkdir(mode=0o755)
        for name in self.files:
            self._copy(name, folder, made)
        (folder / IDENTITY).mkdir()
        for part, value in self._identities(number).items():
            write(folder / IDENTITY / part, value)
        write(folder / ABOUT, json.dumps(made._asdict()).encode())
        sync_directory(folder)
        folder.rename(self.folder / str(number))
        sync_directory(self.folder)
        return made

    def lacks(self, made: Generation) -> str | None:
        """Return what its server is started with and its release has not: a launcher that was asked for after the release was built."""
        release = f"{self.configuration.root}/releases/{made.release}"
        lines = read_file(self.path(made) / self.names.server).decode().splitlines()
        words = [word for line in lines if line.startswith("ExecStart=") for word in shlex.split(line.partition("=")[2])]
        lacking = [word.removeprefix(f"{release}/") for word in words if word.startswith(f"{release}/") and not os.path.lexists(word)]
        return f"{made.release} has no {lacking[0]}, and is to be started with it (nous_service_launcher): its build did not bring it" if lacking else None

    def _content(self, name: str) -> bytes:
        path = self.files[name]
        return read_file(path) if path.exists() else b""

    def _copy(self, name: str, folder: Path, made: Generation) -> None:
        """Copy a file of the role's; a unit says which generation and which release it is of."""
        path, content, target = self.files[name], self._content(name), folder / name
        if name.endswith(UNIT):
            content = content.replace(f"{self.link}".encode(), f"{self.folder / str(made.number)}".encode())
            content = content.replace(f"{self.configuration.root}/current".encode(), f"{self.configuration.root}/releases/{made.release}".encode())
        found = path.stat()
        target.parent.mkdir(mode=0o755, exist_ok=True)
        write(target, content, found.st_mode & 0o7777, (found.st_uid, found.st_gid))

    def _identities(self, number: int) -> dict[str, bytes]:
        """Return what tells whether server, proxy and socket run with a generation: of the first its number, of the others what they are started with."""
        listens = self._content(self.names.proxy_socket)
        proxy = [self._content(name) for name in sorted(self.files) if name == self.names.proxy or name.startswith("proxy.d/")]
        return {"server": f"{number}".encode(), "proxy": digest([*proxy, listens]).encode(), "socket": digest([listens]).encode()}

    def identity(self, part: str) -> bytes:
        """Return what server, proxy or socket of the current generation are known by."""
        return read_file(self.link / IDENTITY / part)

    def switch(self, made: Generation) -> None:
        """Make a generation the current one, in one rename."""
        symlink(self.link, Path(self.folder.name, str(made.number)))

    def accept(self, made: Generation) -> None:
        """Write down that a generation answered, later than all others."""
        latest = max((each.accepted for each in self.all()), default=0)
        write(self.folder / str(made.number) / ABOUT, json.dumps(made._replace(accepted=latest + 1)._asdict()).encode())

    def prune(self) -> None:
        """Remove the generations that are too many; the current one and the last that were accepted stay."""
        current = self.current()
        oldest = -self.configuration.keep
        keep = {each.number for each in self.accepted()[oldest:]} | ({current.number} if current else set())
        for path in self.folder.glob("[0-9]*"):
            if int(path.name) not in keep:
                shutil.rmtree(path.rename(self.folder / f".{path.name}.partial"))


def digest(contents: Iterable[bytes]) -> str:
    """Return a digest of contents, each of which counts as a whole."""
    found = hashlib.sha256()
    for content in contents:
        found.update(hashlib.sha256(content).digest())
    return found.hexdigest()
