# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What /etc/nous-vm/deploy.json says of the server of this host."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UsageError
from ..names import CONFIGURATION

PATH = CONFIGURATION / "deploy.json"
LOCK = "deployment"  # whoever deploys, rolls back, restores or backs up holds it


class Configuration(NamedTuple):
    """The server, as the role configured it.

    path: the file that it is in. root: directory of the releases. home: of the server's state. files: what a generation is made of, by the names in it: units,
    nous.env, proxy.d/*.cfg. credentials: by their names in /run, what the server is started with too, which no rollback brings back. database: the file that
    is copied, None if there is none. address: host:port that the server listens on. host: the name it answers to. timeout: seconds a candidate gets to answer.
    deadline: seconds that a whole deployment gets, without the drain. drain: seconds requests under way get to end. keep: how many releases, generations and
    backups. migrate: the command that moves the data. audit: the file that the server appends to. health_tool: the tool that a candidate is tried with, empty
    for the default. check: what the health check compares with.
    """

    path: Path
    root: Path
    home: str
    user: str
    group: str
    files: dict[str, Path]
    credentials: dict[str, Path]
    database: Path | None
    audit: Path
    address: str
    host: str
    timeout: float
    deadline: float
    drain: float
    keep: int
    migrate: list[str]
    health_tool: str
    check: dict[str, Any]

    @property
    def current(self) -> Path:
        """The link to the current generation."""
        return self.path.parent / "current"

    @property
    def journal(self) -> Path:
        """Where a deployment that is under way is written down."""
        return self.root / "deployment.json"


def load(path: Path = PATH) -> Configuration:
    """Return the configuration; raise UsageError if it is not there or not complete."""
    try:
        about = json.loads(path.read_bytes())
        return Configuration(
            path=path,
            root=Path(about["root"]),
            home=str(about["home"]),
            user=str(about["user"]),
            group=str(about["group"]),
            files={str(name): Path(path) for name, path in about["files"].items()},
            credentials={str(name): Path(path) for name, path in about["credentials"].items()},
            database=Path(about["database"]) if about["database"] else None,
            audit=Path(about["audit"]),
            address=str(about["address"]),
            host=str(about["host"]),
            timeout=float(about["timeout"]),
            deadline=float(about["deadline"]),
            drain=float(about["drain"]),
            keep=int(about["keep"]),
            migrate=[str(each) for each in about["migrate"]],
            health_tool=str(about["health_tool"]),
            check=dict(about["check"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} cannot be used: {error!r}") from None
