# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to count of append-only logs."""

from __future__ import annotations

from collections.abc import Iterator

from ..foreign import ANY, open_file
from ..metrics import Sample
from .archives import archives
from .configuration import everything
from .log import logs_of

BLOCK = 1 << 20
LARGEST = 64 << 20  # bytes of a log whose lines are counted


def metrics() -> Iterator[Sample]:
    """Yield the samples of every log."""
    for config in everything():
        for log in logs_of(config):
            labels = {"rotation": config.name, "log": log.live.name}
            with open_file(log.live, ANY) as file:
                size = file.seek(0, 2)
                file.seek(0)
                lines = sum(block.count(b"\n") for block in iter(lambda: file.read(BLOCK), b"")) if size <= LARGEST else -1
            yield Sample("audit_log_bytes", "Size of the log.", float(size), labels)
            if lines >= 0:
                yield Sample("audit_log_lines", "Records in the log since its last rotation.", float(lines), labels)
            yield Sample("audit_archives", "Archives of the log.", float(len(archives(log))), labels)
