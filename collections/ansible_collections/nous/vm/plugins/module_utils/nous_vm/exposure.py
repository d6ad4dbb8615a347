# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd-analyze says of units, as how exposed one is: asked again only when something that it depends on has changed, because it costs some work."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .atomic import own_directory, read_json, write_json
from .errors import NousVmError
from .names import RUNTIME
from .programs import run
from .systemd import ANSWER

KNOWN = RUNTIME / "exposure"  # a file a unit; of this boot
PLACES = ("/etc/systemd/system.control", "/run/systemd/system.control", "/run/systemd/transient", "/etc/systemd/system", "/run/systemd/system")
PACKAGES = ("/usr/local/lib/systemd/system", "/usr/lib/systemd/system")
PROGRAM = Path("/usr/lib/systemd/systemd")
Answer = TypeVar("Answer")
EXPOSURE = re.compile(r"exposure level for \S+: ([\d.]+)")


def score(unit: str) -> float | None:
    """Return how exposed systemd thinks a unit is, 0 to 10; None if it does not say."""

    def ask() -> float | None:
        found = EXPOSURE.search(run(["systemd-analyze", "security", "--no-pager", unit], timeout=ANSWER).text)
        return float(found[1]) if found else None

    return kept(unit, [unit], ask)


def kept(name: str, units: list[str], ask: Callable[[], Answer | None]) -> Answer | None:
    """Return an answer that JSON has words for: the one that is kept by a name, or what ASK returns if something of these units has changed since, or None."""
    path = KNOWN / f"{name}.json"
    version = [[unit, *_version(unit)] for unit in units]
    known = read_json(path)
    if known.get("version") == version:
        answer: Answer = known["answer"]
        return answer
    found = ask()
    if found is not None:
        with contextlib.suppress(OSError, NousVmError):  # of a check by somebody who may not write here
            for folder in (RUNTIME, KNOWN):
                os.close(own_directory(folder))
            write_json(path, {"version": version, "answer": found})
    return found


@functools.cache
def reloaded() -> str:
    """Return when systemd read its units last; asked for once in a check, and known to the processes that are forked after that."""
    return run(["systemctl", "show", "--property=UnitsLoadFinishTimestampMonotonic", "--value"], timeout=ANSWER).text.strip()


def _version(unit: str) -> list[str]:
    """Return what changes when the score may: systemd itself, when it last read its units, and every file that the unit is made of."""
    stem, _dot, suffix = unit.rpartition(".")
    words = stem.split("-")
    beginnings = [f"{'-'.join(words[:count])}-.{suffix}.d" for count in range(1, len(words))]
    names = [unit, f"{unit}.d", *beginnings, f"{suffix}.d"]
    found = [reloaded(), _stamp(PROGRAM)]
    for place in (*PLACES, *PACKAGES):
        for path in (Path(place, name) for name in names):
            if stamp := _stamp(path):
                found += [stamp, *(f"{each.name} {_stamp(each)}" for each in sorted(path.glob("*.conf")))]
    return found


def _stamp(path: Path) -> str:
    """Return what changes with a file; nothing if it is absent."""
    try:
        about = path.stat()
    except OSError:
        return ""
    return f"{about.st_ino} {about.st_size} {about.st_mtime_ns}"
