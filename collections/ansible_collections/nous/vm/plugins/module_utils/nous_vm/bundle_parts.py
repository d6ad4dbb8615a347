# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a support bundle is made of on every host: check and status, versions, units with their journal, folders, sockets, disks and the history."""

from __future__ import annotations

import grp
import itertools
import os
import pwd
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import VERSION, times
from .bundle import Part, of_roles
from .errors import ForeignError, NousVmError
from .events import FOLDER as LOGS
from .events import history
from .foreign import printable, read_file
from .health import Finding, document
from .names import CONFIGURATION, LIBRARY, MANAGED, RUNTIME, STATE
from .network import holders, listeners
from .overview import look, overview, rows_of
from .programs import run

UNITS = Path("/etc/systemd/system")
SUFFIXES = (".service", ".socket", ".timer", ".path", ".slice", ".target")
MOST_UNITS, MOST_FILES, DEEPEST = 80, 3000, 3
UNIT_FILE = 1 << 16  # bytes of a unit that are read
EVENTS = 200
LINES, DAYS = 500, 7  # of the journal of a unit
ANSWER = 20.0  # seconds that a program gets
OUTPUT = 256 << 10  # bytes that it may print
SYSTEM = {"systemd": ["systemctl", "--version"], "openssl": ["openssl", "version"], "boot": ["uptime", "--since"]}


def parts() -> Iterator[Part]:
    """Yield the parts, those first that tell most."""
    seen: list[Finding] = []

    def check() -> dict[str, Any]:
        seen.extend(look())
        return document(rows_of(seen))

    yield Part("check.json", "nous-vm check", check)
    yield Part("status.json", "nous-vm status", lambda: overview(seen or None).document())
    yield Part("versions.json", "versions of what runs here", versions, foreign=False)
    yield Part("history.json", f"the last {EVENTS} events of the trail", lambda: history(EVENTS))
    for role, documents in of_roles("DOCUMENTS"):
        yield from (Part(f"{role}/{name}.json", f"{name}, by the part {role}", make) for name, make in documents.items())
    yield Part("folders.txt", "modes, owners, sizes and times of files, not what is in them", folders, foreign=False)
    yield Part("listeners.json", "TCP sockets that listen, and who holds them, without those of sshd", listening, foreign=False)
    yield Part("disks.txt", "space and inodes of local file systems", disks, foreign=False)
    for unit in ours():
        yield Part(f"units/{unit}/cat.txt", "the unit as systemd has it on disk", printed("systemctl", "cat", "--no-pager", "--", unit))
        if "@." not in unit:
            yield Part(f"units/{unit}/show.txt", "its properties", printed("systemctl", "show", "--no-pager", "--", unit))
            yield Part(f"units/{unit}/journal.txt", f"its last {LINES} lines of {DAYS} days", journal(unit))
    for role, patterns in of_roles("UNITS"):
        yield Part(f"units/{role}.journal.txt", f"the journal of {', '.join(patterns)}", journal(*patterns))


def versions() -> dict[str, Any]:
    """Return the versions of the collection, of the system and of what the roles name."""
    asked = SYSTEM | {name: argv for _role, known in of_roles("VERSIONS") for name, argv in known.items()}
    kernel = os.uname()
    found: dict[str, Any] = {"collection": VERSION, "python": sys.version, "kernel": f"{kernel.sysname} {kernel.release} {kernel.version} {kernel.machine}"}
    for name, argv in asked.items():
        done = run(argv, timeout=ANSWER, limit=OUTPUT)
        found[name] = printable(next(iter(done.text.splitlines()), "") if not done.returncode else done.complaint)
    return found | {"os-release": read_file(Path("/etc/os-release").resolve()).decode("utf-8", "replace").splitlines()}


def ours(folder: Path = UNITS) -> list[str]:
    """Return the units that a role wrote, and those of others that it has a drop-in of."""
    found = set()
    for path in itertools.chain(folder.glob("*"), folder.glob("*.d/*.conf")):
        unit = path.parent.name.removesuffix(".d") if path.suffix == ".conf" else path.name
        try:
            if unit.endswith(SUFFIXES) and "-." not in unit and read_file(path.resolve(), UNIT_FILE).startswith(MANAGED):
                found.add(unit)
        except (OSError, ForeignError):
            continue
    return sorted(found)[:MOST_UNITS]


def printed(*argv: str) -> Callable[[], str]:
    """Return a function that returns what a program prints. Raises NousVmError if it prints nothing."""

    def make() -> str:
        done = run(argv, timeout=ANSWER, limit=OUTPUT)
        if done.returncode and not done.stdout:
            raise NousVmError(done.complaint)
        cut = len(done.stdout) >= OUTPUT  # its beginning is gone, and with it a part of a line
        return done.text.partition("\n")[2] if cut else done.text

    return make


def journal(*units: str) -> Callable[[], str]:
    """Return a function that returns the journal of units; a pattern may name them."""
    about = ["--quiet", "--no-pager", "--output=short-iso-precise", f"--lines={LINES}", f"--since=-{DAYS}days"]
    return printed("journalctl", *about, *(f"--unit={unit}" for unit in units))


def folders() -> str:
    """Return a line for each file in our folders and those of the roles."""
    places = {CONFIGURATION, STATE, RUNTIME, LOGS, LIBRARY, *(folder for _role, ask in of_roles("folders") for folder in ask())}
    lines: list[str] = []
    for place in sorted(places):
        if not any(other in place.parents for other in places):
            lines += [str(place), *itertools.islice(_listed(place, DEEPEST), MOST_FILES), ""]
    return "\n".join(lines)


def _listed(place: Path, deep: int) -> Iterator[str]:
    """Yield a line for a folder and for each file in it, DEEP folders down. No link is followed."""
    try:
        about = os.lstat(place)
        yield _line(place, about)
        if deep and stat.S_ISDIR(about.st_mode) and place.name not in ("__pycache__", "site-packages"):
            with os.scandir(place) as entries:
                names = sorted(each.name for each in itertools.islice(entries, MOST_FILES))
            for name in names:
                yield from _listed(place / name, deep - 1)
    except FileNotFoundError:
        yield f"{'absent':>46}  {place}"
    except OSError as error:
        yield f"{error.strerror or '':>46}  {place}"


def _line(path: Path, about: os.stat_result) -> str:
    owner, group = _name(pwd.getpwuid, about.st_uid), _name(grp.getgrgid, about.st_gid)
    target = f" -> {printable(os.readlink(path))}" if stat.S_ISLNK(about.st_mode) else ""
    return f"{stat.filemode(about.st_mode)} {f'{owner}:{group}':<20} {about.st_size:>12} {times.iso(about.st_mtime)} {printable(str(path))}{target}"


def _name(ask: Callable[[int], Any], number: int) -> str:
    try:
        return str(ask(number)[0])
    except KeyError:
        return str(number)


def listening() -> list[dict[str, Any]]:
    """Return the sockets that listen, without those of sshd."""
    sockets = set(listeners().values())
    who = holders(each.port for each in sockets)
    found = []
    for each in sorted(sockets):
        kind = socket.AF_INET if len(each.address) == 4 else socket.AF_INET6
        if not who.get(each.port, "").startswith("sshd"):
            found.append({"address": socket.inet_ntop(kind, each.address), "port": each.port, "by": who.get(each.port, "")})
    return found


def disks() -> str:
    """Return what df prints of local file systems."""
    shown = [printed("df", "--local", "--print-type", *more)() for more in ([], ["--inodes"])]
    return "\n".join(shown)
