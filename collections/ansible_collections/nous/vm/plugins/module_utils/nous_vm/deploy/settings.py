# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of the server and its proxy: the files that they are started with, and their last known good content.

Whether a file is another than it was at a start is told by its content, never by clocks: systemd makes copies of the files at every start, as credentials of
the unit (LoadCredential=nous-vm.NAME:PATH), and the socket, which has none, one in /run.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ..atomic import read_json, write, write_json
from ..foreign import read_file
from ..names import RUNTIME, Names
from ..systemd import is_active, show, systemctl
from .configuration import Configuration
from .server import Server

COPY = "nous-vm."  # what the name of a copy begins with


class Settings:
    """The files that server and proxy are started with."""

    def __init__(self, configuration: Configuration, names: Names) -> None:
        self.files, self.proxy_files, self.credentials = configuration.files, configuration.proxy_files, configuration.credentials
        self.record, self.configuration = configuration.known_good, configuration.path
        self.names = names

    def digest(self) -> str:
        """Return a digest of what the server is started with: a release that failed with other settings may answer with these."""
        return digest([content(path) for path in self.files])

    def accepted(self, release: str, settings: str) -> bool:
        """Tell whether a release was deployed last, with settings of this digest: if it fails with them now, something else is wrong."""
        good = read_json(self.record)
        files = good.get("files", {})
        return good.get("history", [])[-1:] == [release] and digest([files.get(str(path), {}).get("content") for path in self.files]) == settings

    def saved(self) -> dict[str, dict[str, Any]]:
        """Return the files that the server and its proxy are started with, as they can be put back."""
        return {str(path): saved(path) for path in [*self.files, *self.proxy_files]}

    def outdated(self) -> bool:
        """Tell whether a file that the server reads at its start is another now than it was then, or than is known to be good."""
        return differ(started_with(self.names.server), copied(self.files) | self.credentials) or self.unproven()

    def unproven(self) -> bool:
        """Tell whether a file has another content than the last known good."""
        good = read_json(self.record).get("files", {})
        return any(good[str(path)]["content"] != content(path) for path in [*self.files, *self.proxy_files] if str(path) in good)

    def outdated_proxy(self) -> str | None:
        """Return the unit of the proxy to restart because its files are others now than at its start; the socket takes the proxy with it."""
        if differ(RUNTIME, {path.name: path for path in self.proxy_files if path.name == self.names.proxy_socket}):
            return self.names.proxy_socket
        files = [path for path in self.proxy_files if path.name != self.names.proxy_socket]
        return self.names.proxy if not is_active(self.names.proxy) or differ(started_with(self.names.proxy), copied(files)) else None

    def put_back(self, server: Server) -> str | None:
        """Give the files their last known good content, and have the server asked where it then listens; return the unit of the proxy to restart, if any."""
        good, changed = read_json(self.record), False
        if (endpoint := good.get("endpoint", server.endpoint)) != server.endpoint:
            server.address, server.host = endpoint["address"], endpoint["host"]
            write_json(self.configuration, read_json(self.configuration) | endpoint)
        for name, file in good.get("files", {}).items():
            path = Path(name)
            if file["content"] == content(path):
                continue
            changed |= path in self.proxy_files
            if file["content"] is None:
                path.unlink()
            else:
                write(path, file["content"].encode("latin-1"), file["mode"], tuple(file["owner"]))
        systemctl("daemon-reload")
        return self.outdated_proxy() if changed else None

    def keep(self, history: list[str], files: dict[str, Any], endpoint: dict[str, str]) -> None:
        """Write down what is known to be good from now on."""
        write(self.record, json.dumps({"history": history, "files": files, "endpoint": endpoint}).encode())


def content(path: Path) -> str | None:
    """Return what is in a file, as JSON can hold it; None if it is not there."""
    return read_file(path).decode("latin-1") if path.exists() else None


def saved(path: Path) -> dict[str, Any]:
    """Return a file as it can be put back."""
    if not path.exists():
        return {"content": None}
    about = path.stat()
    return {"content": content(path), "mode": about.st_mode & 0o7777, "owner": [about.st_uid, about.st_gid]}


def digest(contents: list[str | None]) -> str:
    """Return a digest of the contents of files."""
    return hashlib.sha256("\0".join(each or "" for each in contents).encode()).hexdigest()


def started_with(unit: str) -> Path:
    """Return where the copies are that systemd made of a unit's files when it started it; only root writes there. Of a unit that does not run there is none."""
    return Path(f"/proc/{show(unit, 'MainPID').get('MainPID') or 0}/root/run/credentials/{unit}")


def copied(files: list[Path]) -> dict[str, Path]:
    """Return files by the names of their copies."""
    return {COPY + path.name: path for path in files}


def differ(place: Path, files: dict[str, Path]) -> bool:
    """Tell whether a file has another content than its copy, by the copies' names."""
    return any(content(place / name) != content(path) for name, path in files.items())
