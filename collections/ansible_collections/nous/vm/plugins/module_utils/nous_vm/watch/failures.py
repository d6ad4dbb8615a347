# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units that failed: what systemd has started for each by OnFailure= is noted here, so that a unit that failed and works again is not missed."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from ..atomic import own_directory, read_json, write_json
from ..errors import UsageError
from ..systemd import show
from . import configuration

FOLDER = configuration.FOLDER / "failed"
RECENT = 900.0  # seconds for which a failure is told of: one that comes again and again is one alert
MOST = 100  # units
PROPERTIES = ("LoadState", "ActiveState", "Transient", "Result", "ExecMainStatus", "Restart")
NAME = re.compile(r"[A-Za-z0-9:_.@\\-]{1,200}")


def note(unit: str) -> bool:
    """Note that a unit failed; return whether that is somebody's to know: not of a transient one, nor of one that systemd is about to start again."""
    if not NAME.fullmatch(unit) or unit.startswith("."):
        raise UsageError(f"{unit!r} is no name of a unit")
    about = show(unit, *PROPERTIES)
    if about.get("Restart") == "no" and "MONITOR_SERVICE_RESULT" in os.environ:  # what it was when it failed, whatever it is by now
        how = {"EXIT_STATUS": "ExecMainStatus", "SERVICE_RESULT": "Result"}
        about |= {"ActiveState": "failed"} | {name: os.environ.get(f"MONITOR_{given}", "") for given, name in how.items()}
    if about.get("LoadState") not in ("loaded", "masked") or about.get("Transient") == "yes" or not is_failure(about):
        return False
    for folder in (configuration.FOLDER, FOLDER):
        os.close(own_directory(folder))
    for path in FOLDER.glob("*.json"):
        if not _is_recent(path):
            path.unlink(missing_ok=True)
    if len(list(FOLDER.glob("*.json"))) < MOST:
        write_json(FOLDER / f"{unit}.json", {"at": time.time(), "result": about.get("Result", "")})
    return True


def is_failure(about: dict[str, str]) -> bool:
    """Tell whether a unit is failed, by its properties; one that was stopped while it was at work is not, though systemd says so."""
    return about.get("ActiveState") == "failed" and (about.get("Result"), about.get("ExecMainStatus")) not in (("signal", "15"), ("signal", "TERM"))


def recent() -> dict[str, str]:
    """Return the units that failed lately, with how."""
    return {path.name.removesuffix(".json"): str(read_json(path).get("result", "")) for path in sorted(FOLDER.glob("*.json")) if _is_recent(path)}


def _is_recent(path: Path) -> bool:
    return time.time() - float(read_json(path).get("at", 0.0)) < RECENT
