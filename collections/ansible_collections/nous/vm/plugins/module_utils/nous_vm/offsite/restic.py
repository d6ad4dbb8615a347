# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to run restic: in a unit of its own, which reads what it has to and writes to its repository and to one folder, and to nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import NousVmError
from ..foreign import printable
from ..programs import Completed
from ..sandbox import NO_SOCKETS, Value, directives
from ..systemd import in_unit
from .configuration import RESTIC, Configuration

PROGRAM = "/usr/bin/restic"
CACHE = "nous-backup"  # below /var/cache
LONG, SHORT = 6 * 3600.0, 900.0  # seconds for all of a repository, and for a look at it
ABSENT = 10  # restic's exit code: there is no repository
INCOMPLETE = 3  # some of the files could not be read
LOCKED = re.compile(r"repository is already locked.*?(?=\\n|\"|$)", re.MULTILINE)  # what every version of restic prints then, as text or in JSON
PATIENCE = "--retry-lock=2m"  # with whoever else uses the repository


class Restic:
    """The repository of this host's backups."""

    def __init__(self, about: Configuration) -> None:
        self.about = about

    def run(self, *words: str | Path, writes: Path | None = None, timeout: float = SHORT, cached: bool = True) -> Completed:
        """Run a command of restic. writes: the folder that it restores to."""
        if self.about.local and not Path(self.about.local).is_dir():
            raise NousVmError(f"{self.about.local} is not there: is it mounted?")
        options = [*(f"--option={each}" for each in self.about.options), *([] if cached else ["--no-cache"])]

        def once(*argv: str | Path) -> Completed:
            return in_unit(RESTIC, self.properties(writes), [PROGRAM, "--repo", self.about.repository, *options, *argv], timeout=timeout)

        done = once(*words)
        if done.returncode and locked(done):
            # One that was killed left its lock, for ever. `unlock` removes only what nobody holds; what somebody holds is waited for.
            once("unlock")
            done = once(PATIENCE, *words)
        return done

    def properties(self, writes: Path | None) -> Iterator[str]:
        """Yield the properties of the unit. It is root's account without a right but that to read: what it backs up belongs to several."""
        yield from (f"LoadCredential=password:{self.about.password}", f"Environment=RESTIC_PASSWORD_FILE=/run/credentials/{RESTIC}/password")
        yield from (f"CacheDirectory={CACHE}", "CacheDirectoryMode=0700", f"Environment=RESTIC_CACHE_DIR=/var/cache/{CACHE}", "Environment=HOME=/nonexistent")
        if self.about.environment:
            yield f"EnvironmentFile={self.about.environment}"
        # It holds nothing up: it gets what nobody else wants.
        yield from ("Nice=19", "IOSchedulingClass=idle", "CPUWeight=1", "MemoryMax=1G", "TasksMax=64")
        wanted: dict[str, Value] = {
            "CapabilityBoundingSet": "CAP_DAC_OVERRIDE" + (" CAP_CHOWN CAP_FOWNER" if writes else ""),
            "PrivateNetwork": bool(self.about.local),
            "RestrictAddressFamilies": NO_SOCKETS if self.about.local else "AF_INET AF_INET6",
            "ReadWritePaths": [str(each) for each in (self.about.local, writes) if each],
            "ProtectProc": "invisible",
            "ProcSubset": "pid",
            "MemoryDenyWriteExecute": True,
            "SystemCallFilter": ["@system-service", "~@privileged @resources", *(["@chown"] if writes else [])],
        }
        if not self.about.local:
            del wanted["ProcSubset"]  # ssh looks at /proc
        yield from directives(wanted)

    def ordered(self, *words: str | Path, **how: Any) -> Completed:
        """Run a command of restic, which has to succeed."""
        done = self.run(*words, **how)
        if done.returncode:
            raise NousVmError(f"restic {words[0]} failed ({done.returncode}): {reason(done)}")
        return done

    def begin(self, *, first: bool) -> bool:
        """Make the repository if there is none and this is the FIRST backup; return whether it was made. One that is gone is no reason to make another."""
        done = self.run("cat", "config")
        if done.returncode == 0:
            return False
        if done.returncode != ABSENT or not first:
            raise NousVmError(f"the repository cannot be used: {'it is gone' if done.returncode == ABSENT else reason(done)}")
        self.ordered("init")
        return True

    def snapshots(self) -> list[dict[str, Any]]:
        """Return the snapshots of this collection, the latest last."""
        found = json.loads(self.ordered("snapshots", "--json", "--tag=nous-vm").text or "[]")
        return sorted((dict(each) for each in found), key=lambda each: str(each["time"]))

    def save(self, paths: list[Path], host: str, tag: str) -> tuple[str, int]:
        """Save these paths; return the snapshot and how many bytes were added to the repository."""
        done = self.ordered("backup", "--json", "--quiet", "--tag=nous-vm", f"--tag={tag}", f"--host={host}", "--", *paths, timeout=LONG)
        summary = next((each for each in documents(done.text) if each.get("message_type") == "summary"), {})
        return str(summary.get("snapshot_id", ""))[:12], int(summary.get("data_added", 0))

    def forget(self, *words: str) -> None:
        self.ordered("forget", *words)


def documents(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects that stand a line each."""
    for line in text.splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def locked(done: Completed) -> str:
    """Return what restic printed of a lock that was in its way, nothing if none was."""
    found = LOCKED.search(done.stderr.decode("utf-8", "replace"))
    return printable(found[0]) if found else ""


def reason(done: Completed) -> str:
    """Return why restic failed: it prints some of that as JSON, and some behind a word; of a lock it says most before its last line."""
    return locked(done) or done.complaint.removeprefix("Fatal: ")
