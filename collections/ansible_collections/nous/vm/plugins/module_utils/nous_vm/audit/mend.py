# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done after a record was lost or torn, before the server may be trusted with the next one."""

from __future__ import annotations

import os
import time
from pathlib import Path, PurePath

from .. import events, inodes
from ..atomic import write
from ..cgroups import pids, running
from ..names import RUNTIME
from ..processes import cgroup_of
from ..systemd import ordered
from .access import reject_others
from .cut import writable
from .freeze import held_frozen
from .log import Log
from .records import complete
from .rotation import Rotation

TORN = 0o400  # mode of what was cut


def mended_file(name: str) -> Path:
    """Return the file whose time is that of the last mending within this boot."""
    return RUNTIME / f"audit-{name}.mended"


def mend(rotation: Rotation) -> None:
    """Cut torn records, start what writes the logs anew, and have them watched from their last record on."""
    rotation.recover()
    for log in rotation.logs:
        if torn := incomplete(log):
            _cut(rotation, log, torn)
    watch = f"audit-logrotate-{rotation.config.name}-watch.service"
    units = writing(rotation.config.units)
    ordered("stop", watch)
    if units:
        ordered("restart", *units)
        rotation.steps.add("restart", ", ".join(units))
    ordered("start", watch)
    write(mended_file(rotation.config.name), b"")
    events.record("audit log mended", log=", ".join(map(str, (log.live for log in rotation.logs))), restarted=", ".join(units) or None)


def incomplete(log: Log) -> int:
    """Return the bytes of an incomplete record at a log's end."""
    with open(log.live, "rb") as live:
        size = os.fstat(live.fileno()).st_size
        return size - complete(live.fileno(), size)


def writing(units: tuple[str, ...]) -> list[str]:
    """Return the services of these units and slices that run."""
    found = running(units)
    services = {PurePath(cgroup_of(pid)).name for pid in pids(one.cgroup for one in found.values())}
    return sorted(name for name in services if name.endswith(".service"))


def _cut(rotation: Rotation, log: Log, torn: int) -> None:
    """Cut an incomplete record, and keep it in a file beside the log that no verifier reads."""
    aside = log.live.with_name(f"{log.live.name}.torn-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    with held_frozen(rotation.config, rotation.steps) as pause:
        reject_others(log, pause.still())
        with writable(log, pause.held) as live:
            size = os.fstat(live).st_size
            write(aside, os.pread(live, min(torn, 1 << 20), size - torn), TORN)
            os.ftruncate(live, size - torn)
            os.fsync(live)
    inodes.change(aside, on=inodes.IMMUTABLE)
    rotation.steps.add("torn", f"{torn} bytes at the end of {log.live}, kept in {aside}")
