# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The releases on this host, which is current, which failed, and the backups.

--json prints {"current", "built", "failed", "known_good", "backups", "lock", "interrupted", "traffic", "unhealthy"}: the current release; the complete ones;
those that failed, each with why; those that were deployed, the latest last; the names of the backups, the latest last; who holds the deployment lock; the step
at which a deployment was interrupted; "flows", "paused", "rejected" or null, if the local proxy does not answer; why the server is not healthy, or null.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...atomic import read_json
from ...cli import Result
from ...foreign import printable
from ...locks import holder
from ..configuration import LOCK
from ..service import Service, service

if TYPE_CHECKING:
    import argparse


def traffic(known: Service) -> str | None:
    try:
        return known.proxy.traffic()
    except OSError:
        return None


def document(known: Service) -> dict[str, Any]:
    """Return what --json prints."""
    journal = known.configuration.journal
    return {
        "current": known.releases.current(),
        "built": known.releases.built(),
        "failed": {release: printable(str(about.get("reason"))) for release, about in known.releases.failed().items()},
        "known_good": known.releases.known_good(),
        "backups": list(known.backups.complete()),
        "lock": holder(LOCK),
        "interrupted": read_json(journal).get("step", "unreadable") if journal.exists() else None,
        "traffic": traffic(known),
        "unhealthy": known.server.unhealthy(known.server.state()),
    }


def run(_arguments: argparse.Namespace) -> Result:
    about = document(service())
    marks: dict[str, list[str]] = {release: [] for release in sorted({*about["built"], *about["failed"]})}
    for release, words in marks.items():
        words += ["current"] if release == about["current"] else []
        words += ["known good"] if release in about["known_good"] else []
        words += [f"failed: {about['failed'][release]}"] if release in about["failed"] else []
    lines = [f"{release}  {', '.join(words) or 'built'}" for release, words in marks.items()]
    lines += [f"backup {name}" for name in about["backups"]]
    lines += [f"the deployment lock is held by {about['lock']}"] if about["lock"] else []
    lines += [f"a deployment was interrupted at the step {about['interrupted']}: nous-vm recover"] if about["interrupted"] and not about["lock"] else []
    lines += [f"traffic: {about['traffic'] or 'the local proxy does not answer'}", f"server: {about['unhealthy'] or 'healthy'}"]
    return Result(about, "\n".join(lines))
