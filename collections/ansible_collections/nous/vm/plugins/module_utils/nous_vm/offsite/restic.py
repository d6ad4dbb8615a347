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
from ..foreign import printable, read_file
from ..programs import Completed
from ..sandbox import NO_SOCKETS, Value, directives
from ..systemd import in_unit
from .configuration import RESTIC, Configuration

PROGRAM = "/usr/bin/restic"
CACHE = "nous-backup"  # below /var/cache
# Where the role has ssh write what it complains of: restic prints that too, but often ends sooner.
SSH_LOG = Path("/var/cache") / CACHE / "ssh.log"
LONG, SHORT = 6 * 3600.0, 900.0  # seconds for all of a repository, and for a list of what is in it
LOOK = 120.0  # seconds until a repository is out of reach: restic itself would try for a quarter of an hour
ABSENT = 10  # restic's exit code: there is no repository
INCOMPLETE = 3  # some of the files could not be read
LOCKED = re.compile(r"repository is already locked.*?(?=\\n|\"|$)", re.MULTILINE)  # what every version of restic prints then, as text or in JSON
WAIT = 120.0  # seconds for whoever else uses the repository
PATIENCE = f"--retry-lock={WAIT:g}s"
AGAIN = re.compile(r" returned error, retrying after [^:]*: (.+)")
SSH = re.compile(r"subprocess ssh: (.+)")
FATAL = "Fatal: "
USERINFO = re.compile(r"(?<=//)[^/@\s\"]*@")  # of a URL: it is from the variables that are secret


class Restic:
    """The repository of this host's backups."""

    def __init__(self, about: Configuration) -> None:
        self.about = about

    def run(self, *words: str | Path, writes: Path | None = None, timeout: float = SHORT, cached: bool = True) -> Completed:
        """Run a command of restic. writes: the folder that it restores to."""
        if self.about.local and not Path(self.about.local).is_dir():
            raise NousVmError(f"{self.about.local} is not there: is it mounted?")
        options = [*(f"--option={each}" for each in self.about.options), *([] if cached else ["--no-cache"])]

        def once(*argv: str | Path, more: float = 0.0) -> Completed:
            return in_unit(RESTIC, self.properties(writes), [PROGRAM, "--repo", self.about.repository, *options, *argv], timeout=timeout + more)

        SSH_LOG.unlink(missing_ok=True)
        done = once(*words)
        if done.returncode and locked(done):
            # One that was killed left its lock, for ever. `unlock` removes only what nobody holds; what somebody holds is waited for.
            once("unlock")
            done = once(PATIENCE, *words, more=WAIT)
        return done._replace(stderr=done.stderr + complaints()) if done.returncode else done

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

    def is_there(self) -> bool:
        """Tell whether there is a repository; raise NousVmError, before long, if it is out of reach or cannot be opened."""
        done = self.run("cat", "config", timeout=LOOK)
        if done.returncode not in (0, ABSENT):
            raise NousVmError(f"the repository cannot be used: {reason(done)}")
        return done.returncode == 0

    def begin(self, *, first: bool) -> bool:
        """Make the repository if there is none and this is the FIRST backup; return whether it was made. One that is gone is no reason to make another."""
        if self.is_there():
            return False
        if not first:
            raise NousVmError("the repository cannot be used: it is gone")
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


def complaints() -> bytes:
    """Return what ssh complained of in the last command, in lines as restic prints them."""
    try:
        return b"".join(b"\nsubprocess ssh: " + line for line in read_file(SSH_LOG).splitlines())
    except FileNotFoundError:
        return b""


def locked(done: Completed) -> str:
    """Return what restic printed of a lock that was in its way, nothing if none was."""
    found = LOCKED.search(done.stderr.decode("utf-8", "replace"))
    return printable(found[0]) if found else ""


def reason(done: Completed) -> str:
    """Return why restic failed, in one line. It says that in the middle, and ends with an address, or with what ended it."""
    if found := locked(done):
        return found
    lines = [message(line) for line in done.stderr.decode("utf-8", "replace").splitlines()]
    fatal = next((line.removeprefix(FATAL) for line in reversed(lines) if line.startswith(FATAL)), "")
    tried, of_ssh = ([match[1] for line in lines if (match := form.search(line))] for form in (AGAIN, SSH))
    if tried and (not fatal or "context canceled" in fatal):
        found = f"tried again until the time was over: {tried[-1]}"
    elif of_ssh and fatal:
        found = f"ssh: {of_ssh[-1].removeprefix('ssh: ')}"
    else:
        found = fatal or done.complaint
    return printable(USERINFO.sub("", found))


def message(line: str) -> str:
    """Return what a line of restic's says: some are JSON."""
    try:
        return str(json.loads(line)["message"]) if line.startswith("{") else line
    except (ValueError, KeyError, TypeError):
        return line
