# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let Caddy take the configuration on disk, with no request lost; systemctl reload caddy runs this.

--json prints {"reloaded": bool, "message": what is wrong, or worth to know}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import locks
from ...cli import Result
from ..reload import reload

if TYPE_CHECKING:
    import argparse

INTERNAL = True
WAIT = 60.0  # seconds; systemd gives a reload 90


def run(_arguments: argparse.Namespace) -> Result:
    with locks.held("gateway", "gate reload", wait=WAIT):
        done = reload()
    text = " ".join(filter(None, (done.fault, done.note)))
    return Result({"reloaded": not done.fault, "message": text}, text, 1 if done.fault else 0)
