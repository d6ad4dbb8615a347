# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a backup off this host now: the unit nous-backup.service runs this by its timer.

--json prints {"changed", "snapshot", "at", "seconds", "added", "lost_at_most", "checked"}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result, only_root

if TYPE_CHECKING:
    import argparse

EXAMPLE = "sudo systemctl start nous-backup.service"


def run(_arguments: argparse.Namespace) -> Result:
    from ..configuration import load
    from ..operations import back_up

    only_root("reads what is backed up")
    done = back_up(load())
    text = f"snapshot {done['snapshot']}, {done['added']} bytes more, in {done['seconds']} s; at most {done['lost_at_most']} s would have been lost"
    return Result(done, text)
