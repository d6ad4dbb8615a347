# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resume traffic after the server's stop.

systemd runs it, as ExecStopPost= of the server's unit. --json prints {}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result

if TYPE_CHECKING:
    import argparse


def quick() -> int:
    from ...names import names
    from .. import traffic
    from ..proxy import Proxy

    traffic.release(Proxy(names().proxy_admin), traffic.STOP)
    return 0


def run(_arguments: argparse.Namespace) -> Result:
    return Result({}, "", quick())
