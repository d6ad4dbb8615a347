# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines of nous-vm status on the current release and the backups, and what to do about rows of the check."""

from __future__ import annotations

from collections.abc import Iterator

from .. import times
from .service import Service, service

JOURNAL = "sudo journalctl --unit=nous.service"
NEXT_STEPS = {
    "service": JOURNAL,
    "crashes": JOURNAL,
    "health": JOURNAL,
    "credentials": JOURNAL,
    "release": "sudo nous-vm releases",
    "failed releases": "sudo nous-vm releases",
    "deployment": "sudo nous-vm recover",
    "newest commit": "sudo nous-vm deploy --newest",
    "traffic": "sudo nous-vm resume",
    "restarts of the proxy": "sudo journalctl --unit=nous-proxy.service",
}


def summary() -> Iterator[tuple[str, str]]:
    """Yield the current release with the one to roll back to, and the backups."""
    known = service()
    yield "release", release(known)
    yield "backups", backups(known)


def release(known: Service) -> str:
    """Return the current release, and where nous-vm rollback leads."""
    current, failed = known.releases.current(), known.releases.failed()
    before = [each for each in known.releases.known_good() if each != current and each not in failed]
    return f"{current or 'none'}, {f'rollback to {before[-1]}' if before else 'none to roll back to'}"


def backups(known: Service) -> str:
    """Return how many backups there are, and which is the latest."""
    found = known.backups.complete()
    if not found:
        return "none"
    name, about = list(found.items())[-1]
    when = times.minute(float(about.get("at", 0.0)))
    return f"{len(found)}, the latest of {when}: {name}"
