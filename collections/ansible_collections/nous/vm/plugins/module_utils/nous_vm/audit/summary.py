# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The line of nous-vm status on append-only logs and their rotation, and what to do about rows of the check."""

from __future__ import annotations

from collections.abc import Iterator

from ..systemd import show
from .archives import archives
from .configuration import Configuration, everything
from .log import logs_of

NEXT_STEPS = {
    "last rotation": "sudo journalctl --unit='audit-logrotate-*.service'",
    "rotation complete": "sudo nous-vm audit recover",
    "archives": "sudo nous-vm audit recover",
    "answers are recorded": "sudo nous-vm audit mend",
}


def summary() -> Iterator[tuple[str, str]]:
    """Yield how many archives every rotation has, and when it runs next."""
    yield "audit", "; ".join(_line(config) for config in everything())


def _line(config: Configuration) -> str:
    count = sum(len(archives(log)) for log in logs_of(config))
    following = show(f"audit-logrotate-{config.name}.timer", "NextElapseUSecRealtime").get("NextElapseUSecRealtime")
    return f"{', '.join(str(config.directory / name) for name in config.files)}: {count} archives, next rotation {following or 'never'}"
