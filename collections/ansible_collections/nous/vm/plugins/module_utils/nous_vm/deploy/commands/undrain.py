# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resume traffic after the server's stop, and have its state flushed if that was planned.

systemd runs it, as ExecStopPost= of the server's unit. The flush is a unit of its own, in its own sandbox, and nobody waits for it. --json prints {}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result

if TYPE_CHECKING:
    import argparse

INTERNAL = True


def quick() -> int:
    from ... import pause
    from ...names import names
    from ...systemd import systemctl
    from .. import traffic
    from ..proxy import Proxy

    planned = any(each.owner == traffic.STOP for each in pause.reasons())  # a server that crashed is to be back first
    try:
        traffic.release(Proxy(names().proxy_admin), traffic.STOP)
    finally:
        if planned:
            systemctl("start", "--no-block", names().flush)
    return 0


def run(_arguments: argparse.Namespace) -> Result:
    return Result({}, "", quick())
