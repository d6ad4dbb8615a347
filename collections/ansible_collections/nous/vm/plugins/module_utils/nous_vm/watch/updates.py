# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows on updates: which security updates are pending, and whether the host is to be rebooted. What apt says is kept until what it reads has changed."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path
from typing import Any

from ..atomic import read_json, write_json
from ..health import Row
from ..programs import run
from . import configuration

LISTS, INSTALLED = Path("/var/lib/apt/lists"), Path("/var/lib/dpkg/status")
KNOWN = configuration.FOLDER / "updates.json"
SIMULATE = ["apt-get", "--just-print", "--quiet", "--quiet", "--option=Debug::NoLocking=true", "dist-upgrade"]
APT = 40.0  # seconds
UPGRADE = re.compile(r"^Inst (\S+) \[[^]]*\] \((.*?)\)", re.MULTILINE)
SECURITY = re.compile(r"-security\b|Debian-Security", re.IGNORECASE)
OLD = 8 * 86400  # seconds after which package lists say nothing of today
REBOOT = Path("/run/reboot-required")
BOOT = Path("/boot")
SHOWN = 10


def version() -> list[float]:
    """Return what changes when apt would say something else."""
    return [path.stat().st_mtime if path.exists() else 0.0 for path in (LISTS, INSTALLED)]


def pending() -> dict[str, Any]:
    """Return what apt says: security and others, lists of packages; problem if it says nothing."""
    now = version()
    known = read_json(KNOWN)
    if known.get("version") == now:
        return known
    done = run(SIMULATE, timeout=APT, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"})
    found: dict[str, Any] = {"version": now, "security": [], "others": [], "problem": ""}
    if done.returncode:
        found["problem"] = done.complaint
    for package, about in UPGRADE.findall(done.text):
        found["security" if SECURITY.search(about) else "others"].append(package)
    with contextlib.suppress(OSError):  # a check by hand on a host without the watch
        write_json(KNOWN, found)
    return found


def security() -> Row:
    """Return the row on security updates."""
    name = "security updates"
    if not any(LISTS.glob("*_Packages*")) and not any(LISTS.glob("*Release")):
        return Row(name, "unknown", "there are no package lists; sudo apt update")
    age = time.time() - LISTS.stat().st_mtime
    found = pending()
    if found["problem"]:
        return Row(name, "fail", f"apt cannot tell: {found['problem']}; sudo dpkg --configure -a, sudo apt --fix-broken install")
    if found["security"]:
        names = ", ".join(found["security"][:SHOWN])
        return Row(name, "warn", f"{len(found['security'])} pending: {names}; sudo apt upgrade")
    others = f", {len(found['others'])} others" if found["others"] else ""
    if age > OLD:
        return Row(name, "unknown", f"none in package lists that are {age / 86400:.0f} days old; sudo apt update")
    return Row(name, "ok", f"none pending{others}")


def reboot(at: str) -> Row:
    """Return the row on whether the host runs what is installed: the distribution's own note, and a newer kernel. at: when it reboots by itself, if it does."""
    name = "reboot"
    if REBOOT.exists():
        return Row(name, "warn", f"needed for what was upgraded; {f'unattended-upgrades does it at {at}, or now: ' if at else ''}sudo systemctl reboot")
    kernels = sorted((path.name.partition("-")[2] for path in BOOT.glob("vmlinuz-*")), key=_order)
    running = os.uname().release
    if kernels and _order(kernels[-1]) > _order(running):
        return Row(name, "warn", f"needed for the kernel {kernels[-1]}, {running} runs; sudo systemctl reboot")
    return Row(name, "ok", "not needed")


def _order(release: str) -> list[int]:
    return [int(number) for number in re.findall(r"[0-9]+", release)]
