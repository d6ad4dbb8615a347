# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of the server and its proxy: the files that they are started with, and their last known good content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..atomic import read_json, write, write_json
from ..foreign import read_file
from ..names import Names
from ..systemd import is_active, started, systemctl
from .configuration import Configuration
from .server import Server


class Settings:
    """The files that server and proxy are started with."""

    def __init__(self, configuration: Configuration, names: Names) -> None:
        self.files, self.proxy_files, self.credentials = configuration.files, configuration.proxy_files, configuration.credentials
        self.record, self.configuration = configuration.known_good, configuration.path
        self.names = names

    def digest(self) -> str:
        """Return a digest of what the server is started with: a release that failed with other settings may answer with these."""
        return hashlib.sha256("\0".join(content(path) or "" for path in self.files).encode()).hexdigest()

    def saved(self) -> dict[str, dict[str, Any]]:
        """Return the files that the server and its proxy are started with, as they can be put back."""
        return {str(path): saved(path) for path in [*self.files, *self.proxy_files]}

    def outdated(self) -> bool:
        """Tell whether a file that the server reads at its start is newer than that start, or not the one that is known to be good."""
        return newer([*self.files, *self.credentials], started(self.names.server, "ExecMainStartTimestampMonotonic")) or self.unproven()

    def unproven(self) -> bool:
        """Tell whether a file has another content than the last known good."""
        good = read_json(self.record).get("files", {})
        return any(good[str(path)]["content"] != content(path) for path in [*self.files, *self.proxy_files] if str(path) in good)

    def outdated_proxy(self) -> str | None:
        """Return the unit of the proxy to restart because it runs on older files than those on disk; the socket takes the proxy with it."""
        listens = [path for path in self.proxy_files if path.name == self.names.proxy_socket]
        if newer(listens, started(self.names.proxy_socket, "ActiveEnterTimestampMonotonic")):
            return self.names.proxy_socket
        old = newer(self.proxy_files, started(self.names.proxy, "ExecMainStartTimestampMonotonic"))
        return self.names.proxy if old or not is_active(self.names.proxy) else None

    def put_back(self, server: Server) -> str | None:
        """Give the files their last known good content, and have the server asked where it then listens; return the unit of the proxy to restart, if any."""
        good, changed = read_json(self.record), []
        if (endpoint := good.get("endpoint", server.endpoint)) != server.endpoint:
            server.address, server.host = endpoint["address"], endpoint["host"]
            write_json(self.configuration, read_json(self.configuration) | endpoint)
        for name, file in good.get("files", {}).items():
            path = Path(name)
            if file["content"] == content(path):
                continue
            changed.append(path)
            if file["content"] is None:
                path.unlink()
            else:
                write(path, file["content"].encode("latin-1"), file["mode"], tuple(file["owner"]), file["mtime"])
        systemctl("daemon-reload")
        proxy = [path.name for path in changed if path in self.proxy_files]
        if not proxy:
            return None
        return self.names.proxy_socket if self.names.proxy_socket in proxy else self.names.proxy

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
    return {"content": content(path), "mode": about.st_mode & 0o7777, "owner": [about.st_uid, about.st_gid], "mtime": about.st_mtime}


def newer(files: Iterable[Path], since: float) -> bool:
    """Tell whether one of the files was written after a time."""
    return any(path.stat().st_mtime > since for path in files if path.exists())
