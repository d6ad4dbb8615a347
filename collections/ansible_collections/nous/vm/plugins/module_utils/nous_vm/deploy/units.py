# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The units of the current generation, as systemd finds them: links below /etc/systemd/system that never change.

They are made here, because systemctl enable would write where the link to the current generation leads at that time, and disable removes a unit that is a link.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..atomic import symlink
from ..foreign import read_file
from ..systemd import show_all, systemctl
from .configuration import Configuration
from .generations import UNIT, Generations

UNITS = Path("/etc/systemd/system")
WANTED_BY = re.compile(rb"^WantedBy=(\S+)$", re.MULTILINE)


class Units:
    """The units of a server that are in its generations."""

    def __init__(self, configuration: Configuration, generations: Generations) -> None:
        self.link, self.generations = configuration.current, generations
        self.names = [name for name in configuration.files if name.endswith(UNIT)]

    def load(self) -> None:
        """Have systemd know the current generation's units; raise OSError if it does not."""
        for name in self.names:
            point(UNITS / name, self.link / name)
        systemctl("daemon-reload")
        if stale := self.stale():
            raise OSError(f"systemd still has another generation's {', '.join(stale)}")

    def stale(self) -> list[str]:
        """Return the units of which systemd has another text than the current generation's: each names its generation in Documentation=."""
        current = self.generations.current()
        shown = show_all(self.names, "Documentation", "NeedDaemonReload") if current else {}
        mark = f"file://{self.generations.folder / str(current.number)}" if current else ""
        return [name for name, about in shown.items() if mark not in about.get("Documentation", "").split() or about.get("NeedDaemonReload") == "yes"]

    def wants(self) -> dict[Path, Path]:
        """Return the links that start the current generation's units at boot, and where they lead."""
        found = {}
        for name in self.names:
            path = self.link / name
            for target in WANTED_BY.findall(read_file(path) if path.exists() else b""):
                found[UNITS / f"{target.decode()}.wants" / name] = UNITS / name
        return found

    def are_enabled(self) -> bool:
        """Tell whether the units start at boot."""
        wants = self.wants()
        return bool(wants) and all(path.is_symlink() and path.readlink() == target for path, target in wants.items())

    def enable(self) -> None:
        """Have the units start at boot."""
        for path, target in self.wants().items():
            path.parent.mkdir(mode=0o755, exist_ok=True)
            point(path, target)
        systemctl("daemon-reload")


def point(path: Path, target: Path) -> None:
    """Have a link point to a target, whatever file is in its place."""
    if not path.is_symlink() or os.readlink(path) != str(target):
        symlink(path, target)
