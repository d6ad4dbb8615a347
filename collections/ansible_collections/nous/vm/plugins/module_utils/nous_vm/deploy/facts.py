# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Local facts: what is built and deployed here, for the role that asks before it does anything."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path
from typing import Any

from ..names import Names, names
from ..programs import run
from ..systemd import systemctl
from .releases import COMPLETE, about

UNITS = Path("/etc/systemd/system")
VERSION = 'import sys; print("%d.%d" % sys.version_info[:2])'


def facts(root: str, python: str, user: str, group: str, socket_group: str, bind: str = "") -> dict[str, Any]:
    """Return the facts.

    account: "user:group", each empty if it is not there. socket_group: its name, or empty. bind, root: as given. python: the version of that interpreter, by
    its path. current: the current release, or empty. source: what it was built from. releases: those that are built. follow: "none", or what systemd says of
    the timer ("enabled active").
    """
    folder = Path(root)
    current = folder / "current"
    return {
        "account": f"{user if _is_user(user) else ''}:{group if _is_group(group) else ''}",
        "socket_group": socket_group if _is_group(socket_group) else "",
        "bind": bind,
        "root": root,
        "python": {python: run([python, "-c", VERSION], timeout=10).text.strip()},
        "current": current.readlink().name if current.is_symlink() else "",
        "source": str(about(current / COMPLETE).get("source", "")),
        "releases": sorted(path.parent.name for path in folder.glob(f"releases/*/{COMPLETE}") if os.access(path.parent / "venv/bin/python", os.X_OK)),
        "follow": follow(names()),
    }


def follow(known: Names) -> str:
    """Return what systemd says of the timer that looks for newer commits, "none" if there is none."""
    if not (UNITS / known.follow_timer).exists():
        return "none"
    return f"{systemctl('is-enabled', known.follow_timer)} {systemctl('is-active', known.follow_timer)}"


def _is_user(name: str) -> bool:
    try:
        return bool(pwd.getpwnam(name))
    except KeyError:
        return False


def _is_group(name: str) -> bool:
    try:
        return bool(grp.getgrnam(name))
    except KeyError:
        return False
