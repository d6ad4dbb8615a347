# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is built and deployed on this host, for the role that asks before it changes anything."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..atomic import read_json
from ..build.release import seems_whole
from ..errors import ForeignError
from ..foreign import parse_json
from ..names import COMMAND, CONFIGURATION, Names, names
from ..programs import run
from ..systemd import systemctl
from .generations import ABOUT
from .releases import COMPLETE, about
from .units import UNITS

CHECK = 15.0  # seconds; a server that hangs is asked for five


def facts(root: str) -> dict[str, Any]:
    """Return the facts.

    current: the current release, or empty. source: what it was built from. releases: those that are built. follow: "none", or what systemd says of the timer
    ("enabled active"). settled: whether the current release runs with what its files say now, answers, and traffic flows.
    """
    folder = Path(root)
    current = str(read_json(CONFIGURATION / "current" / ABOUT).get("release", ""))
    return {
        "current": current,
        "source": str(about(folder / "releases" / current / COMPLETE).get("source", "")),
        "releases": sorted(path.parent.name for path in folder.glob(f"releases/*/{COMPLETE}") if can_run(path.parent)),
        "follow": follow(names()),
        "settled": settled(),
    }


def can_run(folder: Path) -> bool:
    """Tell whether a release is there to be deployed; a deployment looks more closely."""
    return os.access(folder / "venv/bin/python", os.X_OK) and seems_whole(folder)


def follow(known: Names) -> str:
    """Return what systemd says of the timer that looks for newer commits, "none" if there is none."""
    if not (UNITS / known.follow_timer).exists():
        return "none"
    return f"{systemctl('is-enabled', known.follow_timer)} {systemctl('is-active', known.follow_timer)}"


def settled() -> bool:
    """Tell whether nothing is to be done for the current release, by the command on this host; without one, or if it fails, there is."""
    done = run([COMMAND, "deploy", "current", "--check", "--json"], timeout=CHECK)
    try:
        return done.returncode == 0 and parse_json(done.stdout, "the answer of nous-vm deploy").get("changed") is False
    except ForeignError:
        return False
