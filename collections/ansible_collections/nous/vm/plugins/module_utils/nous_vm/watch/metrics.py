# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to count of the host, and of who is told; and the file of node_exporter's textfile collector."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from .. import metrics as core
from ..atomic import write
from ..health import Finding
from ..metrics import Sample
from . import space, state, trend
from .configuration import Configuration

FILE = "nous_vm.prom"


def metrics() -> Iterator[Sample]:
    """Yield the samples."""
    known = state.load()
    for each in space.file_systems():
        labels = {"mountpoint": each.place}
        yield Sample("filesystem_free_bytes", "Room on a file system.", float(each.free), labels)
        yield Sample("filesystem_size_bytes", "Size of a file system.", float(each.size), labels)
        days = trend.days_left(known.free.get(each.place, []))
        if days is not None:
            yield Sample("filesystem_full_days", "Days until a file system is full, if it goes on as in the last days.", days, labels)
    for way, outbox in known.outboxes.items():
        yield Sample("alerts_waiting", "Changes that somebody was not told yet.", float(len(outbox.changes)), {"way": way})
    yield Sample("watch_timestamp_seconds", "When the watch ran last.", round(known.at, 3))


def publish(config: Configuration, found: list[Finding], seconds: float) -> bool:
    """Write the metrics for node_exporter, as a whole, if the folder of its collector is there; return whether it is."""
    folder = Path(config.textfile) if config.textfile else None
    if folder is None or not folder.is_dir():
        return False
    samples = [*core.of_check(found, seconds, time.time()), *core.of_parts()]
    write(folder / FILE, core.text(samples).encode(), 0o644)
    return True
