# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What server and proxy were started with, by content and not by clocks: at each start systemd makes copies of files as credentials of the unit.

The socket, which has none, makes one in /run.
"""

from __future__ import annotations

from pathlib import Path

from ..foreign import read_file
from ..names import RUNTIME, Names
from ..systemd import is_active, show
from .configuration import Configuration
from .generations import Generations

IDENTITY = "nous-vm.generation"  # the credential that holds what server or proxy are known by


class Running:
    """What runs, compared with what should."""

    def __init__(self, configuration: Configuration, names: Names, generations: Generations) -> None:
        self.credentials, self.names, self.generations = configuration.credentials, names, generations

    def server_is_outdated(self) -> bool:
        """Tell whether the server runs with another generation than the current one, or other credentials than there are now."""
        place = started_with(self.names.server)
        if content(place / IDENTITY) != self.generations.identity("server"):
            return True
        return any(content(place / name) != content(path) for name, path in self.credentials.items())

    def outdated_proxy(self) -> str | None:
        """Return the unit of the proxy to restart because it is not the current generation's; the socket takes the proxy with it."""
        if content(RUNTIME / self.names.proxy_socket) != self.generations.identity("socket"):
            return self.names.proxy_socket
        outdated = content(started_with(self.names.proxy) / IDENTITY) != self.generations.identity("proxy")
        return self.names.proxy if outdated or not is_active(self.names.proxy) else None


def content(path: Path) -> bytes | None:
    """Return what is in a file; None if it is not there."""
    return read_file(path) if path.exists() else None


def started_with(unit: str) -> Path:
    """Return where the copies are that systemd made of a unit's files when it started it; only root writes there. Of a unit that does not run there is none."""
    return Path(f"/proc/{show(unit, 'MainPID').get('MainPID') or 0}/root/run/credentials/{unit}")
