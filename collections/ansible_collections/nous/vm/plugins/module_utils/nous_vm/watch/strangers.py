# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The row on strangers: units, timers, cron jobs and logrotate rules of others that name what is ours, as those of nous's own bundle do."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import ForeignError
from ..foreign import printable, read_file
from ..health import Row
from ..names import MANAGED
from .units import ours

PLACES = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system")
JOBS = ("/etc/crontab", "/etc/cron.d/*", "/etc/cron.hourly/*", "/etc/cron.daily/*", "/etc/cron.weekly/*", "/etc/cron.monthly/*")
OTHERS = (*JOBS, "/var/spool/cron/crontabs/*", "/etc/logrotate.d/*")
UNITS = (".service", ".timer", ".socket", ".path", ".target")
MOST, SIZE = 2000, 1 << 16  # files that are looked at, and bytes of one
SHOWN = 5


def files(root: Path = Path("/")) -> Iterator[Path]:
    """Yield the files of everybody: units, and what is run at times."""
    for place in PLACES:
        folder = root / place.lstrip("/")
        yield from sorted(path for path in folder.glob("*") if path.name.endswith(UNITS) and not path.is_symlink())
        yield from sorted(folder.glob("*.d/*.conf"))
    for pattern in OTHERS:
        yield from sorted(root.glob(pattern.lstrip("/")))


def strangers(names: list[str], units: list[str], known: list[str], root: Path = Path("/")) -> dict[str, str]:
    """Return the files of others that name ours, and what they name. names: paths and addresses. units: as host_watch_units. known: files that may."""
    full = [re.escape(each) for each in (*names, *(unit for unit in ours(units, root / "etc/systemd/system") if unit.endswith(".service")))]
    if not full:
        return {}
    pattern = re.compile(rf"(?<![\w.-])(?:{'|'.join(sorted(full, key=len, reverse=True))})(?![\w-])".encode())
    found = {}
    for number, path in enumerate(files(root)):
        if number >= MOST or str(path) in known or path.parent.name.removesuffix(".d") in units:
            continue  # a drop-in of one of our units is the operator's own
        with contextlib.suppress(OSError, ForeignError):
            content = read_file(path, SIZE)
            lines = [line for line in content.splitlines() if not line.lstrip().startswith(b"#")]
            if not content.startswith(MANAGED) and (seen := pattern.search(b"\n".join(lines))):
                found[printable(str(path), 200)] = printable(seen[0], 100)
    return found


def check(names: list[str], units: list[str], known: list[str]) -> Row:
    """Return the row."""
    seen = strangers(names, units, known)
    found = [f"{path} names {what}" for path, what in seen.items()]
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    advice = "; stop and remove it, or name it in host_watch_known if it is yours"
    if any(Path(path).name.startswith("nous") for path in seen):
        advice += "; nous's own bundle is taken over by ansible-playbook nous.vm.adopt"
    return Row("other units", "fail" if found else "ok", f"{'; '.join(found[:SHOWN])}{more}{advice}" if found else "none names what is ours")
