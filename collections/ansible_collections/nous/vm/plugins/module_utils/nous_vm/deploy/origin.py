# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release can be built from on this host, by the configuration of the build and the record of the release."""

from __future__ import annotations

from ..build.configuration import PATH, Configuration, load
from ..build.unit import build
from ..errors import NousVmError, UsageError
from .releases import COMPLETE, Releases, about


def origin(releases: Releases, release: str) -> Configuration:
    """Return what a release can be built from; raise UsageError if nothing here tells, or it is gone."""
    found = load()
    if found.release != release:
        known = about(releases.folder / release / COMPLETE)
        same = known.get("source") == found.source["description"] and release.rpartition("-py")[2] == found.release.rpartition("-py")[2]
        if not same or not known.get("commit"):
            raise UsageError(f"{PATH} is for {found.release}, not for {release}")
        found = found.at(release, str(known["commit"]))
    if found.archive and not found.archive.exists():
        raise UsageError(f"the archive that {release} is made of is not on this host")
    return found


def make(releases: Releases, release: str, again: bool = False) -> str | None:
    """Build a release; return why it could not be built."""
    try:
        return build(origin(releases, release), release, again).get("reason")
    except NousVmError as error:
        return str(error)


def why_not_anew(releases: Releases, release: str) -> str | None:
    """Return why a release that is there cannot be built anew."""
    try:
        origin(releases, release)
    except UsageError as error:
        return f"{release} is not built anew: {error}"
    return None
