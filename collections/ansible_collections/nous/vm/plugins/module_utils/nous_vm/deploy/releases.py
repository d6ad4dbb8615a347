# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The releases on this host: which are built, which failed, which is current, and which were deployed before.

A release is a folder ROOT/releases/RELEASE; what is in it is foreign, because a build ran what its source says.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from .. import times
from ..atomic import symlink, write
from ..errors import ForeignError, LockedError
from ..foreign import printable
from ..foreign import read_json as read_foreign
from ..locks import held
from .configuration import Configuration
from .generations import Generations

COMPLETE, FAILED = "release.json", "failed.json"


def about(path: Path) -> dict[str, Any]:
    """Return what a foreign JSON file says, nothing if it does not."""
    try:
        return read_foreign(path)
    except (OSError, ForeignError):
        return {}


class Releases:
    """The folder of the releases, and the link to the current one."""

    def __init__(self, configuration: Configuration, generations: Generations) -> None:
        self.folder, self.link = configuration.root / "releases", configuration.root / "current"
        self.generations = generations

    def built(self) -> list[str]:
        """Return the releases that are complete; a link, which only a build can have made, is none."""
        return sorted(path.parent.name for path in self.folder.glob(f"*/{COMPLETE}") if not path.parent.is_symlink())

    def unable(self, release: str) -> str | None:
        """Return why a release cannot run: it is not built or damaged, or the Python that it was built for is gone, or is another by now.

        The name of the interpreter has to tell, /usr/bin/python3.13 say: to ask it would be to run the release with all of root's rights.
        """
        folder = self.folder / release
        wanted = printable(str(about(folder / COMPLETE).get("python", "")))
        interpreter = (folder / "venv/bin/python").resolve()
        found = interpreter.name.removeprefix("python") if os.access(interpreter, os.X_OK) else ""
        if release in self.built() and found in (".".join(wanted.split(".")[:2]), "3"):  # 3 does not tell; the health check will
            from ..build.release import damage

            return damage(folder)
        now = f"is Python {printable(found)} now" if found else "does not run any more"
        return f"{release} cannot run: it was built for Python {wanted}, and its interpreter {now}"

    def failed(self) -> dict[str, dict[str, Any]]:
        """Return the releases that were deployed and did not answer, with what is known of that. What is no note of root's counts for nothing."""
        return {path.parent.name: known for path in sorted(self.folder.glob(f"*/{FAILED}")) if (known := about(path))}

    def failure(self, release: str, settings: str) -> dict[str, Any]:
        """Return why a release is not deployed unasked: it failed with these settings, or with any. Nothing if it may be."""
        if not self.marked(release, settings):
            return {}
        known = self.failed()[release]
        reason = printable(str(known.get("reason", "nobody knows why")))
        why = reason if known.get("settings") is None else f"with these settings, {reason}"
        since = times.second(float(known.get("at") or 0))
        lines = [printable(str(each)) for each in known.get("journal") or []]
        return {"reason": f"on {since} it failed: {why}; it is not deployed again until that is asked for (--again)", "journal": lines}

    def blocked(self, settings: str) -> dict[str, str]:
        """Return the releases that a fault of theirs keeps from being deployed with these settings, each with why. That somebody left one is no fault."""
        found = {release: about for release, about in self.failed().items() if about.get("settings") == settings}
        return {release: printable(str(about.get("reason", "nobody knows why"))) for release, about in found.items()}

    def mark_failed(self, release: str, reason: str, settings: str | None, journal: list[str]) -> None:
        """Mark a release as failed, with certain settings or with any."""
        write_json_line(self.folder / release / FAILED, {"reason": reason, "settings": settings, "journal": journal, "at": time.time()})

    def marked(self, release: str, settings: str) -> bool:
        """Tell whether a release is marked as failed, with these settings or with any."""
        return release in (failed := self.failed()) and failed[release].get("settings") in (None, settings)

    def forgive(self, release: str, settings: str) -> None:
        """Forget that a release failed, with these settings or with any: it answers."""
        if self.marked(release, settings):
            (self.folder / release / FAILED).unlink()

    def known_good(self) -> list[str]:
        """Return the releases that were deployed and answered, and are still there, the latest last."""
        built, found = self.built(), [each.release for each in self.generations.accepted()]
        return [release for following, release in enumerate(found, 1) if release in built and release not in found[following:]]

    def current(self) -> str | None:
        """Return the release of the current generation."""
        current = self.generations.current()
        return current.release if current else None

    def named(self, release: str) -> str:
        """Return which release is meant: "current" is the current one."""
        return (self.current() or release) if release == "current" else release

    def point(self, release: str) -> None:
        """Have ROOT/current lead to a release, for people; nothing else goes that way."""
        symlink(self.link, Path(self.folder.name, release))

    def prune(self, deployed: str) -> None:
        """Remove the releases that are too many; that one failed, and why, stays."""
        from ..build.release import remove

        keep = {each.release for each in self.generations.all()}
        now = (self.folder / deployed / COMPLETE).stat().st_mtime
        try:
            with held("build", "remove old releases"):  # what is being built is not complete either
                for folder in self.folder.iterdir():
                    path = folder / COMPLETE
                    recent = path.exists() and path.stat().st_mtime > now  # it may be about to be deployed
                    if folder.is_dir() and folder.name not in keep and not recent:
                        remove(folder)
        except LockedError:
            return


def write_json_line(path: Path, value: object) -> None:
    """Write a JSON document that root alone reads."""
    import json

    write(path, json.dumps(value).encode())
