# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pause traffic, let the calls under way end, and then the server: part of every stop of it. With --proxy, the same before a stop of the local proxy.

systemd runs it, as ExecStop= of their units; undrain comes after the server's stop. --json prints {}.
"""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

from ...cli import Result

if TYPE_CHECKING:
    import argparse

INTERNAL = True
LONGEST = 60.0  # seconds that a stop takes beyond the drain; what undrain did not clear by then is none
END = 2.5  # seconds that the server gets to end once it is told to; with a client that never ends its request, it does not


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--proxy", action="store_true", help="it is the local proxy that is being stopped")


def quick() -> int:
    from ...names import names
    from .. import traffic
    from ..configuration import load
    from ..proxy import Proxy

    if pid := int(os.environ.get("MAINPID") or 0):  # of a server that crashed there is nothing to wait for
        proxy, seconds = Proxy(names().proxy_admin), load().drain
        traffic.hold(proxy, traffic.STOP, "the server is being stopped", seconds + LONGEST)
        proxy.drain(seconds)
        end(pid)
    return 0


def end(pid: int) -> None:
    """Tell the server to end, and kill it if it does not: the time that its unit has for a stop is the drain's."""
    from ...names import names
    from ...systemd import systemctl

    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        systemctl("kill", "--kill-whom=main", "--signal=SIGTERM", names().server)
        waiting = select.poll()
        waiting.register(process, select.POLLIN)
        if not waiting.poll(END * 1000):
            systemctl("kill", "--kill-whom=main", "--signal=SIGKILL", names().server)
    finally:
        os.close(process)


def run(arguments: argparse.Namespace) -> Result:
    from ...names import names
    from ..configuration import load
    from ..proxy import Proxy

    if not arguments.proxy:
        return Result({}, "", quick())
    if os.environ.get("MAINPID"):
        proxy = Proxy(names().proxy_admin)
        proxy.close()
        proxy.drain(load().drain)
    return Result({})
