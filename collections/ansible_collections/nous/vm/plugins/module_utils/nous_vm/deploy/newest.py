# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The newest commit of the branch in /etc/nous-vm/build.json: is it deployed? nous-follow.timer has this looked after.

A commit that is not is built, and deployed as any release is: rolled back if it does not answer. One that failed is not built or deployed again.
"""

from __future__ import annotations

from typing import Any

from ..build.configuration import Configuration
from ..build.unit import build, newest_commit
from ..errors import NousVmError, UsageError
from .operations import check
from .releases import about
from .service import Service
from .transient import in_unit


def newest(service: Service, configuration: Configuration) -> tuple[int, str, dict[str, Any]]:
    """Look once; return the exit code, a line, and the document.

    0: the newest commit is deployed. 1: it is not, and the line says why. 2: nobody can tell which it is. Raises LockedError.
    """
    source = configuration.source
    branch = f"{source['ref']} of {source['url']}"
    try:
        commit = newest_commit(configuration)
    except NousVmError as error:
        return UsageError.exit_code, f"{branch} cannot be queried: {error}", {}
    current = service.releases.current()
    if current and about(service.releases.folder / current / "release.json").get("commit") == commit:
        return 0, f"{current} is deployed, the newest commit of {branch}", {"changed": False, "release": current}

    release = f"git-{commit[:12]}-py{configuration.release.rpartition('-py')[2]}"
    known = check(service, release, again=False)
    if known.get("reason"):
        return 1, f"{release} is not deployed: {known['reason']}", known
    built = build(configuration.at(release, commit), release)
    if built.get("reason"):
        return 1, f"{release} is not built: {built['reason']}; it is tried again", built
    document = in_unit(service, ["deploy", release])
    if document.get("reason"):
        return 1, f"{release} is not deployed: {document['reason']}; {document.get('rollback')}", document
    return 0, f"{release} is deployed from now on, the newest commit of {branch}", document
