# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have the local proxy do what the reasons for a pause ask for, and print them.

systemd runs it, as ExecStartPost= of the proxy's unit: a proxy that is started anew knows none of them. --json prints {"reasons": [...]} as pause prints them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ...cli import Result
from ...names import names
from .. import traffic
from ..proxy import Proxy

if TYPE_CHECKING:
    import argparse

INTERNAL = True
PATIENCE = 3.0  # seconds that a proxy gets to open its admin socket
POLL = 0.02


def run(_arguments: argparse.Namespace) -> Result:
    proxy, deadline = Proxy(names().proxy_admin), time.monotonic() + PATIENCE
    while True:
        try:
            found = traffic.apply(proxy)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL)
    return Result({"reasons": [each._asdict() for each in found]}, "\n".join(f"traffic is {each}" for each in found) or "traffic flows")
