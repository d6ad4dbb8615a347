# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Serve the way out: the unit nous-egress.service runs this, with the socket that systemd listens on."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from ...cli import Result
from ...errors import UsageError

if TYPE_CHECKING:
    import argparse

FIRST = 3  # descriptor of systemd's, sd_listen_fds(3)
INTERNAL = True
EXAMPLE = "systemctl start nous-egress.socket"


def run(_arguments: argparse.Namespace) -> Result:
    import asyncio
    import signal

    from ...output import write
    from ..configuration import load
    from ..tunnel import serve

    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        raise UsageError("this is what nous-egress.service runs: it needs the socket of nous-egress.socket")
    about = load()

    async def until_stopped() -> None:
        task = asyncio.current_task()
        if task:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            await serve(socket.socket(fileno=FIRST), about, write)
        except asyncio.CancelledError:
            write("stopped")

    asyncio.run(until_stopped())
    return Result({})
