# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes sure that packages of the distribution are installed: dpkg is asked first, apt-get only for what lacks.

This file is private to the collection: other code must not import it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ._probe.system import packages as installed
from .nous_vm import atomic, systemd
from .nous_vm.foreign import printable
from .nous_vm.programs import Completed, run

# What apt and dpkg lock, by POSIX record locks.
LOCKS = ("/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock", "/var/lib/apt/lists/lock", "/var/cache/apt/archives/lock")
JOURNAL = Path("/var/lib/dpkg/updates")
POLICY, ASIDE = Path("/usr/sbin/policy-rc.d"), Path("/usr/sbin/policy-rc.d.nous-vm")
HALF_DONE = {"half-installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending"}
MARK = "Made by nous.vm.packages"
SCRIPT = """#!/bin/sh
# {mark} for one run of its own: what this installs is not started. For everybody else it is as if this were not here.
if [ "${{NOUS_VM_PACKAGES-}}" = {token} ]; then exit 101; fi
if [ -x {aside} ]; then exec {aside} "$@"; fi
exit 0
"""
ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "DEBIAN_PRIORITY": "critical",
    "APT_LISTCHANGES_FRONTEND": "none",
    "NEEDRESTART_SUSPEND": "1",  # services of others are not restarted for it
}
# A repository that does not answer is not waited for, because another one may have all; only if it has not, all are asked with the host's own patience.
QUICK = ["-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=10", "-o", "Acquire::https::Timeout=10"]
INSTALL = ["--yes", "--no-install-recommends", "--no-remove", "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold", "install"]
FLOCK = "hhqqi"  # struct flock of fcntl(2) on 64-bit Linux
POLL = 0.5  # seconds between two looks at a lock
WORK = 3600.0  # seconds that apt-get gets to install, and dpkg to complete
REFRESH = 600.0  # seconds that apt-get gets to update
MOST_LINES = 4


class PackagesError(Exception):
    """The packages cannot be installed; the text is one sentence that says why."""


@dataclass
class Outcome:
    """What was done or, in check mode, would be. completed: an interrupted dpkg was brought to its end."""

    installed: list[str] = field(default_factory=list)
    completed: bool = False
    warnings: list[str] = field(default_factory=list)


def missing(names: list[str]) -> list[str]:
    """Return the packages that are not installed."""
    there = installed(names)
    return [name for name in names if name not in there]


def ensure(names: list[str], disabled: list[str], lock_timeout: float, check_mode: bool) -> Outcome:
    """Install what lacks. disabled: units that are left disabled if they come with it. lock_timeout: seconds to wait for others. Raises PackagesError."""
    outcome = Outcome(installed=missing(names))
    if not outcome.installed or check_mode:
        return outcome
    new_units = [unit for unit in disabled if systemd.show(unit, "LoadState").get("LoadState") == "not-found"]
    deadline = time.monotonic() + lock_timeout
    token = secrets.token_hex(16)
    with policy(token):
        _Installer(names, deadline, token, outcome).install()
    for unit in new_units:
        if systemd.show(unit, "LoadState").get("LoadState") == "loaded":
            systemd.ordered("disable", unit)
    return outcome


class _Installer:
    """One installation. deadline: until when locks are waited for, by the monotonic clock."""

    def __init__(self, names: list[str], deadline: float, token: str, outcome: Outcome) -> None:
        self.names, self.deadline, self.outcome = names, deadline, outcome
        self.environment = {**os.environ, **ENVIRONMENT, "NOUS_VM_PACKAGES": token}

    def install(self) -> None:
        wait_for_locks(self.deadline)
        interrupted = is_interrupted()
        if interrupted:
            self.complete()
        lacking = missing(self.names)
        if not lacking:
            return
        for patience in (QUICK, []):
            problems, printed = self.attempt(patience, ["--fix-broken"] if interrupted else [], lacking)
            still = missing(self.names)
            if not still or not problems:
                break
        if still:
            printed += [f"before, apt-get update printed: {each}" for each in problems]
            raise PackagesError(f"{', '.join(still)} cannot be installed: {'; '.join(printed) or 'apt-get did not say why'}.")
        self.outcome.warnings += [f"apt-get update: {each}" for each in problems]

    def attempt(self, patience: list[str], more: list[str], lacking: list[str]) -> tuple[list[str], list[str]]:
        """Update and install; return what is wrong with repositories, and what is wrong with the installation."""
        problems = complaints(self.apt([*patience, "update"], REFRESH))
        return problems, complaints(self.apt([*INSTALL, *more, *lacking], WORK))

    def complete(self) -> None:
        """Bring an interrupted dpkg to its end; what is left over then, apt-get mends, or says why it cannot."""
        done = self.program(["dpkg", "--force-confdef", "--force-confold", "--configure", "-a"], WORK)
        self.outcome.completed = True
        if done.returncode:
            self.outcome.warnings.append(f"dpkg was interrupted before, and dpkg --configure -a did not complete it: {done.complaint}")

    def apt(self, arguments: list[str], timeout: float) -> Completed:
        """Run apt-get; wait again for whoever took a lock meanwhile."""
        while True:
            done = self.program(["apt-get", "-q", *arguments], timeout)
            if not done.returncode or b"Could not get lock" not in done.stdout:
                return done
            wait_for_locks(self.deadline)
            time.sleep(POLL)

    def program(self, argv: list[str], timeout: float) -> Completed:
        return run(argv, timeout=timeout, env=self.environment, merge=True)


def complaints(done: Completed) -> list[str]:
    """Return the lines with which apt-get says what is wrong, the errors first, as they may be printed; none if nothing is."""
    if not done.returncode and b"Err:" not in done.stdout:
        return []
    lines = list(dict.fromkeys(line.strip() for line in done.text.splitlines()))
    found = [line.removeprefix("E: ") for line in lines if line.startswith("E: ")]
    found += [line.removeprefix("W: ") for line in lines if line.startswith("W: ")]
    return [printable(line.rstrip("."), 300) for line in found[:MOST_LINES]] or ([done.complaint] if done.returncode else [])


def is_interrupted() -> bool:
    """Tell whether a dpkg was interrupted: its journal is not empty, or a package is half installed."""
    if JOURNAL.is_dir() and any(re.fullmatch("[0-9]+", each.name) for each in JOURNAL.iterdir()):
        return True
    done = run(["dpkg-query", "--show", "--showformat=${db:Status-Status}\n"], timeout=60)
    return bool(HALF_DONE & set(done.text.splitlines()))


def holder(path: str) -> str | None:
    """Return who holds a lock of apt or dpkg: command and process; None if nobody does."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        answer = struct.unpack(FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)))
    finally:
        os.close(descriptor)
    if answer[0] == fcntl.F_UNLCK:
        return None
    try:
        command = Path(f"/proc/{answer[4]}/cmdline").read_bytes().replace(b"\0", b" ")
    except OSError:  # it ended, or is of another namespace
        command = b""
    return f"{printable(command, 200) or 'another program'} (pid {answer[4]})"


def wait_for_locks(deadline: float) -> None:
    """Wait until nobody holds a lock of apt or dpkg; raise PackagesError with who does when the time is over."""
    since = time.monotonic()
    while held := {path: who for path in LOCKS if (who := holder(path))}:
        if time.monotonic() >= deadline:
            path, who = next(iter(held.items()))
            waited = round(time.monotonic() - since)
            raise PackagesError(f"{who} holds {path}, which was waited for {waited} s (lock_timeout); let it end, and run again.")
        time.sleep(POLL)


@contextlib.contextmanager
def policy(token: str) -> Iterator[None]:
    """Have services that are installed meanwhile, by whoever has the token in the environment, not started.

    It is done by policy-rc.d, of which a host has one. One that is there goes aside and is asked for everybody else; what a run that is killed leaves behind
    serves everybody else in the same way, and the next run removes it.
    """
    ours = POLICY.is_file() and MARK in POLICY.read_text(encoding="utf-8", errors="replace")
    if not ours and os.path.lexists(POLICY):
        POLICY.rename(ASIDE)
    atomic.write(POLICY, SCRIPT.format(mark=MARK, token=token, aside=ASIDE).encode(), 0o755)
    try:
        yield
    finally:
        if os.path.lexists(ASIDE):
            ASIDE.rename(POLICY)
        else:
            POLICY.unlink(missing_ok=True)
