# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of the system: platform, packages, accounts, ports, interpreters, units and schedules."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shlex
import socket
import sys
import typing as t
from datetime import datetime, timedelta

from ..nous_vm.errors import NousVmError
from ..nous_vm.foreign import printable, read_file
from ..nous_vm.network import holders
from ..nous_vm.programs import run
from ..nous_vm.systemd import show_all

OS_RELEASE = "/etc/os-release"
SHORT = 10.0  # seconds that a program gets
MOST = 400  # times of a calendar event that are looked at
NAMES = {"debian": "Debian", "ubuntu": "Ubuntu"}
UNIT = ("LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload")
FORMAT = "${Package}\t${Package}:${Architecture}\t${Version}\t${db:Status-Status}\n"
VERSION = 'import sys; print("%d.%d.%d" % sys.version_info[:3])'


def platform() -> dict[str, str]:
    """Return the distribution, its release and its version, as Ansible's own facts name them, and the version of this interpreter."""
    found = {}
    for line in read_file(os.path.realpath(OS_RELEASE)).decode("utf-8", "replace").splitlines():
        name, equals, value = line.partition("=")
        if equals and not name.startswith("#"):
            found[name] = "".join(shlex.split(value))
    identity = printable(found.get("ID", "an unknown system"))
    return {
        "distribution": NAMES.get(identity, identity),
        "release": printable(found.get("VERSION_CODENAME", "")),
        "version": printable(found.get("VERSION_ID", "")),
        "python": ".".join(map(str, sys.version_info[:3])),
        "executable": sys.executable,
    }


def packages(names: list[str]) -> dict[str, str]:
    """Return the versions of those of these packages that are installed, as dpkg knows them; none on a host without it."""
    if not names:
        return {}
    done = run(["dpkg-query", "--show", f"--showformat={FORMAT}", *names], timeout=SHORT)
    if done.returncode not in (0, 1, 127):
        raise NousVmError(f"dpkg-query failed: {done.complaint}")
    found: dict[str, str] = {}
    for line in done.text.splitlines():
        name, full, version, status = line.split("\t")
        if status == "installed":
            found |= {each: version for each in (name, full) if each in names}
    return found


def accounts(names: list[str]) -> dict[str, dict[str, t.Any]]:
    """Return number, group, home and shell of those of these users that are there, by their names."""
    found = {}
    for name in names:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        found[name] = {"uid": entry.pw_uid, "gid": entry.pw_gid, "home": entry.pw_dir, "shell": entry.pw_shell}
    return found


def groups(names: list[str]) -> dict[str, int]:
    """Return the numbers of those of these groups that are there, by their names."""
    found = {}
    for name in names:
        try:
            found[name] = grp.getgrnam(name).gr_gid
        except KeyError:
            continue
    return found


def is_free(address: str) -> bool:
    """Tell whether a program could listen on HOST:PORT."""
    host, _colon, port = address.rpartition(":")
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((host, int(port)))
        except OSError:
            return False
    return True


def ports(asked: list[dict[str, str]]) -> dict[str, str]:
    """Return who holds these addresses (HOST:PORT), if not the unit that may: "nginx (pid 12)"."""
    found = {}
    for address, unit in ((each["address"], each["unit"]) for each in asked):
        if not is_free(address):
            holder = holders([int(address.rpartition(":")[2])], unit).values()
            found.update(dict.fromkeys([address] if holder else [], "".join(holder)))
    return found


def pythons(paths: list[str]) -> dict[str, str | None]:
    """Return the versions of interpreters, by their paths; None for what is no interpreter that runs."""
    return {path: _version(path) for path in paths}


def _version(path: str) -> str | None:
    if os.path.exists(path) and os.path.realpath(path) == os.path.realpath(sys.executable):
        return ".".join(map(str, sys.version_info[:3]))
    done = run([path, "-I", "-c", VERSION], timeout=SHORT) if os.access(path, os.X_OK) and os.path.isfile(path) else None
    text = done.text.strip() if done and done.returncode == 0 else ""
    return text if text.replace(".", "").isdecimal() and text.count(".") == 2 else None


def units(names: list[str]) -> dict[str, dict[str, t.Any]]:
    """Return the state of units, by their names, and "in_effect": whether one is active, enabled, and loaded as its file on disk is now."""
    return {name: about | {"in_effect": in_effect(about)} for name, about in show_all(names, *UNIT).items()}


def in_effect(about: dict[str, str]) -> bool:
    return (about.get("ActiveState"), about.get("UnitFileState"), about.get("NeedDaemonReload")) == ("active", "enabled", "no")


def calendars(events: list[str]) -> dict[str, str]:
    """Return what systemd has against calendar events, by event; an empty text if nothing."""
    found = {}
    for event in events:
        done = run(["systemd-analyze", "calendar", "--iterations=1", "--", event], timeout=SHORT)
        found[event] = done.complaint if done.returncode else ""
    return found


def elapses(events: list[str]) -> dict[str, int]:
    """Return how often calendar events elapse within a day of the next time, by event; at most MOST times, and 0 for one that never does."""
    found = {}
    for event in events:
        text = run(["systemd-analyze", "calendar", f"--iterations={MOST}", "--", event], timeout=SHORT).text
        times = [datetime.fromisoformat(time) for time in re.findall(r"(?:Next elapse|Iter\S+ #\d+): \w+ (\S+ \S+)", text)]
        found[event] = sum(time - times[0] < timedelta(days=1) for time in times)
    return found
