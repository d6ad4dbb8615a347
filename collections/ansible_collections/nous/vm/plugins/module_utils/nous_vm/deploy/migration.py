# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The release's own migration of the data, while no server runs, or of a copy."""

from __future__ import annotations

import time
from pathlib import Path

from ..foreign import printable
from ..names import Names
from ..sandbox import NO_SOCKETS, directives
from ..systemd import in_unit, systemctl
from .configuration import Configuration

DEFAULT = ["venv/bin/python", "scripts/migrate.py", "upgrade"]  # what nous documents
LINES = 3  # of what it printed last, to tell why it failed


def source(folder: Path) -> Path:
    """Return where a release expects to be run: in its source, if it has one."""
    return folder / "source" if (folder / "source").is_dir() else folder


def command(configuration: Configuration, release: str) -> list[str]:
    """Return the command that moves the data to a release, none if there is none: not every release brings the script of the default."""
    folder = configuration.root / "releases" / release
    lacks = configuration.migrate == DEFAULT and not (source(folder) / DEFAULT[1]).is_file()
    return [] if lacks else configuration.migrate


def migrate(configuration: Configuration, names: Names, release: str, command: list[str], binds: list[str], timeout: float) -> str | None:
    """Run a migration and return why it failed. In a unit of its own, because it needs the server's environment and runs what the release says.

    binds: the properties that give it what it may write to.
    """
    folder = configuration.root / "releases" / release
    files = [line.partition(" (")[0] for line in systemctl("show", "--property=EnvironmentFiles", "--value", names.server).splitlines()]
    how = [f"Slice={names.slice}", f"User={configuration.user}", f"WorkingDirectory={source(folder)}", *(f"EnvironmentFile={path}" for path in files), *binds]
    # Less than the server's own sandbox, because it may need programs of the host.
    how += directives({"ProtectHome": "tmpfs", "ProtectProc": "invisible", "RestrictAddressFamilies": NO_SOCKETS})
    program = folder / command[0] if (folder / command[0]).exists() else command[0]
    began = time.monotonic()
    done = in_unit(names.migrate, how, [program, *command[1:]], timeout=timeout)
    if done.returncode == 0:
        return None
    late = [f"it took longer than {timeout:g} s"] if time.monotonic() - began > timeout else []
    lines = [printable(line) for line in (done.stderr + done.stdout).strip().splitlines()[-LINES:]] + late or ["it printed nothing"]
    return f"its migration ({' '.join(command)}) failed: {' | '.join(lines)}"
