# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deploy a release: build it if it is not built, start it, and roll back if it does not answer. Nothing, if it is deployed already.

RELEASE is the name of a folder among the releases, or "current". --newest deploys the newest commit of the branch that the host follows; its exit codes are
0 it is deployed, 1 it is not and the line says why, 2 nobody can tell which it is, 4 locked.
--without-backup is for a database that cannot be copied: hostile, damaged, or locked. What the candidate writes stays then, also if it is rolled back.
--json prints {"changed", "release", "previous", "actions"}, {"warnings"}: which of the operator's wanted checks fail, and why; {"seconds", "parts"}:
how long it took, each part and the pause of traffic; and {"reason", "rollback", "journal", "message"} if it failed: why, what became of the rollback, the
server's last lines, all of it in one sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result
from ...errors import UsageError
from ...events import record
from ...locks import holder
from ...output import complain
from ...systemd import remember
from ..configuration import LOCK
from ..operations import check, deploy
from ..service import Service, service
from ..transient import here, in_unit, result

if TYPE_CHECKING:
    import argparse

EXAMPLE = "sudo nous-vm deploy git-0123456789ab-py3.13"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("release", nargs="?", help="a release, or current")
    parser.add_argument("--newest", action="store_true", help="the newest commit of the branch that is followed")
    parser.add_argument("--check", action="store_true", help="only print what would be done")
    parser.add_argument("--again", action="store_true", help="build it anew, and deploy it though it failed before")
    parser.add_argument("--as-built", action="store_true", help="with --again: do not build it anew")
    parser.add_argument("--without-backup", action="store_true", help="make no copy of the database; data cannot be rolled back then")
    parser.add_argument("--here", action="store_true", help="in this process, which is a unit of its own already")


def run(arguments: argparse.Namespace) -> Result:
    if bool(arguments.release) == arguments.newest:
        raise UsageError("either the name of a release or --newest is needed")
    if arguments.without_backup and (arguments.newest or arguments.check):
        raise UsageError("--without-backup goes with the name of a release, for example nous-vm deploy current --without-backup")
    if arguments.as_built and not arguments.again:
        raise UsageError("--as-built goes with --again, for example nous-vm deploy current --again --as-built")
    known = service()
    if arguments.newest:
        from ...build.configuration import load
        from ..newest import newest

        code, line, document = newest(known, load())
        return Result(document | ({"message": line} if code else {}), line, code)
    options = {"--again": arguments.again, "--as-built": arguments.as_built, "--without-backup": arguments.without_backup}
    words = ["deploy", arguments.release, *(option for option, given in options.items() if given)]
    if arguments.here:
        backup, release = not arguments.without_backup, known.releases.named(arguments.release)
        return result(here(known, words, lambda: deploy(known, release, arguments.again, backup, arguments.as_built)), "")
    if found := looked(known, arguments.release, arguments.check, arguments.again, arguments.as_built):
        return found
    if arguments.without_backup:
        complain(f"nous-vm deploy: no backup of {known.configuration.database} is made; a rollback leaves the data as they are then")
        record("backup omitted", why="asked for with --without-backup", release=known.releases.named(arguments.release))
    return finished(in_unit(known, words), " WITHOUT a backup of the database" if arguments.without_backup else "")


def looked(known: Service, name: str, only: bool, again: bool, as_built: bool) -> Result | None:
    """Return what would be done, if that is all that is asked for, or there is nothing to do; None otherwise."""
    if only:  # by one question to systemd; what is done after a look asks anew
        remember({known.names.server, known.names.proxy, *known.units.names})
    elif holder(LOCK) or known.configuration.journal.exists():
        return None
    release = known.releases.named(name)
    found = check(known, release, again, as_built)
    if only:
        return result(found, f"would {', '.join(found['actions'])}" if found["actions"] else f"{release} is deployed")
    return None if found["actions"] or found.get("reason") else finished(found)


def finished(document: dict[str, object], how: str = "") -> Result:
    """Return what is printed in the end."""
    warnings = document.get("warnings")
    return result(document, "\n".join([f"{document.get('release')} is deployed{how}", *(warnings if isinstance(warnings, list) else [])]))
