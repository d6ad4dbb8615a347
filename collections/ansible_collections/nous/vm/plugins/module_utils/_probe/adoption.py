# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a host that may run nous by its own bundle: a checkout in /opt/nous, units of its own, an updater, a rule of logrotate.

Ours are told from those by their form: the server's units are links to the current generation, and what is a file begins with "Managed by".
"""

from __future__ import annotations

import contextlib
import re
import stat
import typing as t
from pathlib import Path

from .._accounts import uid_of
from ..nous_vm.deploy.units import UNITS
from ..nous_vm.errors import ForeignError
from ..nous_vm.foreign import printable, read_file
from ..nous_vm.names import MANAGED, STATE, names

SIZE, MOST, LONGEST = 1 << 16, 500, 200  # bytes of a file, names of a folder, characters of a value
BEGUN = STATE / "adopting"  # names the folder of an adoption that is not complete
ENVIRONMENT = Path("/etc/nous/nous.env")
RULES = Path("/etc/logrotate.d")
UPDATER = "nous-auto-update"
CHECKOUT = (".git", "pyproject.toml", "deploy", "venv")
OWN = ("releases", "current", "building", "candidate", "backups", "deployment.json")  # what the role nous_service has in its root
SECRET = re.compile("KEY|URL|TOKEN|SECRET|PASSWORD|HEADERS")


def bundle(asked: dict[str, str]) -> dict[str, t.Any]:
    """Return what of the bundle is there. asked: root of the releases, path of the log, user of the server.

    left: what is to be set aside, by path, with what it is; nothing if there is no bundle. running: its units. entries: what is in the checkout.
    updates: what its updater wrote. settings: those of its server that are no secrets. secrets: the names of the others. logs: where the server's log, its
    archives and anchors are to be, by where they are, if that is elsewhere. conflict: the log, if there is one in both places. foreign: what would be moved
    and is no file of the server's account. begun: the folder of an adoption that is not complete.
    """
    units, root = _units(), Path(asked["root"])
    checkout = {str(root): "a checkout of nous's own bundle"} if sum((root / name).exists() for name in CHECKOUT) > 1 else {}
    rules = {str(path): "a rule of logrotate that names the log" for path in _rules(asked["log"])}
    left = units | checkout | rules
    settings = _settings() if left else {}
    log, audit = Path(asked["log"]), Path(settings.get("NOUS_AUDIT_PATH", asked["log"]))
    logs = _logs(log, audit, settings) if left else {}
    return {
        "left": left,
        "running": sorted(path.rpartition("/")[2] for path in units if not path.endswith(".conf")),
        "entries": [str(path) for path in _listed(root) if path.name not in OWN] if checkout else [],
        "settings": {name: printable(value, LONGEST) for name, value in settings.items() if not SECRET.search(name)},
        "secrets": sorted(name for name in settings if SECRET.search(name)),
        "updates": [str(path) for path in _listed(audit.parent) if path.name.startswith("auto-update.")] if left else [],
        "logs": {str(path): str(new) for path, new in logs.items()},
        "foreign": [printable(str(path), LONGEST) for path in logs if not _is_file_of(path, asked["user"])],
        "conflict": str(audit) if audit != log and audit.exists() and log.exists() else "",
        "begun": _text(BEGUN).strip(),
    }


def _text(path: Path) -> str:
    """Return a small file; nothing of one that is not there, or is not to be read."""
    with contextlib.suppress(OSError, ForeignError):
        return read_file(path, SIZE).decode("utf-8", "replace")
    return ""


def _listed(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return sorted(folder.iterdir())[:MOST]
    return []


def _units() -> dict[str, str]:
    """Return the units of the bundle, and the drop-ins of its server."""
    known = names()
    ours = dict.fromkeys([known.server, known.flush, known.flush_timer], "a unit of nous's own bundle")
    ours |= dict.fromkeys([f"{UPDATER}.timer", f"{UPDATER}.service"], "a unit of its updater")
    found = {str(UNITS / name): what for name, what in ours.items() if _theirs(UNITS / name)}
    if str(UNITS / known.server) in found:  # of a server of ours a drop-in is the operator's
        found |= {str(path): "a drop-in of its server" for path in _listed(UNITS / f"{known.server}.d") if _theirs(path)}
    return found


def _theirs(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and not _text(path).startswith(MANAGED.decode())


def _rules(log: str) -> list[Path]:
    """Return the rules of logrotate that name the log."""
    pattern = re.compile(rf"(?m)^[^#\n]*(?<![\w./-]){re.escape(log)}(?![\w-])")
    return [path for path in _listed(RULES) if path.is_file() and pattern.search(_text(path))]


def _settings() -> dict[str, str]:
    """Return the settings of the bundle's server; none of ours."""
    text = _text(ENVIRONMENT)
    if text.startswith(MANAGED.decode()):
        return {}
    found = re.findall(r"(?m)^\s*(NOUS_[A-Z0-9_]+)=(.*?)\s*$", text)
    return {name: value[1:-1] if value[:1] in ("'", '"') and value[-1:] == value[:1] and len(value) > 1 else value for name, value in found}


def _logs(log: Path, audit: Path, settings: dict[str, str]) -> dict[Path, Path]:
    """Return what is to be moved, the log last: a move that is interrupted goes on as long as it is there."""
    anchors = Path(settings.get("NOUS_ANCHOR_PATH", audit.parent / "audit-anchors.jsonl"))
    archives = [path for path in _listed(audit.parent) if re.fullmatch(rf"{re.escape(audit.name)}[.][0-9]+([.]gz)?", path.name)]
    moves = {path: log.parent / (log.name + path.name.removeprefix(audit.name)) for path in archives}
    moves |= {anchors: log.parent / anchors.name, audit: log}
    return {path: new for path, new in moves.items() if path != new and path.is_file()}


def _is_file_of(path: Path, user: str) -> bool:
    """Tell whether it is a file, and a user's own. The bundle gives the folder of the settings to the server, which could name any file there."""
    about = path.lstat()
    return stat.S_ISREG(about.st_mode) and about.st_nlink == 1 and about.st_uid == uid_of(user)
