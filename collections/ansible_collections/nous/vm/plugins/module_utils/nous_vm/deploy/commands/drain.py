# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pause traffic and let the requests under way end: part of every stop of the server.

systemd runs it, as ExecStop= of the server's unit; undrain comes after the stop. --json prints {}.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ...cli import Result

if TYPE_CHECKING:
    import argparse

LONGEST = 60.0  # seconds that a stop takes at most; what undrain did not clear by then is none


def quick() -> int:
    from ...names import names
    from .. import traffic
    from ..configuration import load
    from ..proxy import Proxy

    if os.environ.get("MAINPID"):  # of a server that crashed there is nothing to wait for
        proxy = Proxy(names().proxy_admin)
        traffic.hold(proxy, traffic.STOP, "the server is being stopped", LONGEST)
        proxy.drain(load().drain)
    return 0


def run(_arguments: argparse.Namespace) -> Result:
    return Result({}, "", quick())
