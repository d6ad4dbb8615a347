# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a backup off this host, look after the repository, and try whether a host could be made of it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..atomic import read_json
from ..errors import LockedError, NousVmError
from ..events import record
from ..health import applied
from ..locks import held
from ..names import COMMAND, PYTHON
from ..sandbox import NO_SOCKETS, directives
from ..systemd import in_unit
from . import sets
from .configuration import DRILL, LOCK, RECORD, STAGED, Configuration, last, own, remember
from .restic import LONG, Restic
from .sets import Staging

ATTEMPTS = 3  # at a set of which something was rotated meanwhile
DAY = 86400.0
MACHINE = "machine-"  # how a tag begins that says of which machine a snapshot is
WAIT = 60.0  # seconds for another backup, or a drill, to end
DEPLOYMENT, PATIENCE = "deployment", 900.0  # a lock, and seconds for what moves the data to end
VERIFY = 3600.0  # seconds that reading everything may take


def back_up(about: Configuration) -> dict[str, Any]:
    """Save a set, forget what is too old, check the repository if that is due; return what came of it. A failure is remembered and is an event."""
    began = time.time()
    try:
        with held(LOCK, "backup off the host", wait=WAIT):
            done = _back_up(about, Restic(about), began)
    except LockedError:
        raise
    except (NousVmError, OSError) as error:
        remember("failure", {"at": began, "why": str(error)})
        record("backed up off the host", "failed", why=str(error))
        raise
    remember("failure", None)
    return done


def _back_up(about: Configuration, restic: Restic, began: float) -> dict[str, Any]:
    before = last().get("backup")
    made = restic.begin(first=before is None)
    fence(restic)
    snapshot, added, manifest = _save(about, restic)
    restic.forget("--tag=nous-vm", "--group-by=", *(f"--keep-{kind}={count}" for kind, count in sorted(about.keep.items()) if count))
    ended = time.time()
    document = {
        "at": manifest["at"],
        "snapshot": snapshot,
        "seconds": round(ended - began, 1),
        "added": added,
        # What a host that is lost just before this one is complete loses: all since the one before was begun.
        "lost_at_most": round(ended - (before or manifest)["at"], 1),
    }
    remember("backup", document)
    checked = _check(restic, about, ended)
    return document | {"changed": True, "repository_made": made, "checked": checked}


def fence(restic: Restic) -> None:
    """Raise NousVmError if another machine has taken this one's place: its backups must not be mixed with this one's."""
    snapshots = restic.snapshots()
    machines = [tag.removeprefix(MACHINE) for each in snapshots[-1:] for tag in each.get("tags", []) if tag.startswith(MACHINE)]
    own = {sets.machine(), predecessor().get("machine")}
    if others := [each for each in machines if each not in own]:
        newest = snapshots[-1]
        what = "a host that was restored from this one, or that has the same repository"
        raise NousVmError(f"{newest['hostname']} (machine {others[0]}) made the newest backup, at {newest['time'][:19]}: {what}; stop one of the two")


def predecessor() -> dict[str, Any]:
    """Return of what this host was made, if it was restored."""
    return read_json(RECORD)


def _save(about: Configuration, restic: Restic) -> tuple[str, int, dict[str, Any]]:
    """Save a set of which nothing was rotated meanwhile; return the snapshot, the bytes that were added, and the manifest."""
    for _attempt in range(ATTEMPTS):
        manifest = Staging(about, STAGED).make(*_database())
        paths = [STAGED, *(Path(each) for each in manifest["archives"])]
        snapshot, added = restic.save(paths, sets.host(), f"{MACHINE}{sets.machine()}")
        if sets.still(manifest, about):
            shutil.rmtree(STAGED)
            return snapshot, added, manifest
        restic.forget(snapshot)
    raise NousVmError(f"the log was rotated during each of {ATTEMPTS} attempts")


def _database() -> tuple[Path | None, Callable[[Path], None] | None, str | None]:
    """Return the database of the server, if there is one here, what copies it, and the current release."""
    if "deploy" not in applied("check"):
        return None, None, None
    from ..deploy.service import service

    known = service()

    def export(path: Path) -> None:
        with held(DEPLOYMENT, "copy of the database for a backup", wait=PATIENCE):
            known.backups.export(path)

    return (known.backups.database if known.backups.has_database() else None), export, known.releases.current()


def _check(restic: Restic, about: Configuration, now: float) -> bool:
    """Remove what nothing needs any more and check the repository, if that is due; return whether it was."""
    if now - last().get("check", {}).get("at", 0.0) < about.check_days * DAY:
        return False
    restic.ordered("prune", "--max-repack-size=1G", timeout=LONG)
    restic.ordered("check", "--read-data-subset=5%", timeout=LONG)
    remember("check", {"at": now})
    return True


def drill(about: Configuration) -> dict[str, Any]:
    """Restore the newest set as a new host would, verify and delete it; return what came of it."""
    began = time.time()
    with held(LOCK, "drill", wait=WAIT):
        try:
            found = fetch(about, DRILL, cached=False)
            document = {"at": began, "ok": True, "seconds": round(time.time() - began, 1), "snapshot": found["snapshot"], "of": found["at"], "why": ""}
        except (NousVmError, OSError) as error:
            document = {"at": began, "ok": False, "seconds": round(time.time() - began, 1), "why": str(error)}
        finally:
            shutil.rmtree(DRILL, ignore_errors=True)
    remember("drill", document)
    record("tried a restore", "done" if document["ok"] else "failed", why=str(document["why"]) or None)
    return document


def fetch(about: Configuration, folder: Path, snapshot: str = "latest", *, cached: bool = True) -> dict[str, Any]:
    """Restore a set into a folder of root's, each file below it where it belongs, and verify it; return its manifest with the name of the snapshot."""
    restic = Restic(about)
    shutil.rmtree(folder, ignore_errors=True)
    own(folder.parent)
    folder.mkdir(mode=0o700)
    restic.begin(first=False)  # before anything that would try for long
    newest = restic.snapshots()
    chosen = [each for each in newest if snapshot in ("latest", each["short_id"], each["id"])][-1:]
    if not chosen:
        raise NousVmError(f"the repository has no snapshot {snapshot}; it has {len(newest)}")
    restic.ordered("restore", chosen[0]["id"], f"--target={folder}", writes=folder, timeout=LONG, cached=cached)
    manifest = sets.lay_out(folder, STAGED)
    verified(about, folder)
    return manifest | {"snapshot": chosen[0]["short_id"]}


def verified(about: Configuration, folder: Path) -> None:
    """Have all that is in a set read in a sandbox without a network; raise NousVmError for what is wrong with it."""
    how = directives({"ReadOnlyPaths": str(folder), "CapabilityBoundingSet": "CAP_DAC_OVERRIDE", "RestrictAddressFamilies": NO_SOCKETS, "MemoryMax": "1G"})
    done = in_unit("nous-backup-verify.service", how, [PYTHON, "-I", COMMAND, "backup", "verify", folder, "--json"], timeout=VERIFY)
    try:
        faults = [str(each) for each in json.loads(done.text)["faults"]]
    except (ValueError, KeyError):
        faults = [done.complaint]
    if faults:
        raise NousVmError(f"the set is damaged: {'; '.join(faults[:5])}")
