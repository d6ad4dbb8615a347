# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resume traffic that an operator paused. What others paused, a deployment for example, is theirs to resume.

--json prints {"changed": bool, "reasons": [...]}: whether there was an operator's reason, and those that remain, as pause prints them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import pause
from ...cli import Result
from ...events import record
from ...names import names
from ...systemd import systemctl
from .. import traffic
from ..proxy import Proxy
from .pause import TIMER

if TYPE_CHECKING:
    import argparse


def run(_arguments: argparse.Namespace) -> Result:
    changed = pause.clear(traffic.OPERATOR)
    systemctl("stop", f"{TIMER}.timer")
    found = traffic.apply(Proxy(names().proxy_admin))
    if changed:
        record("resumed")
    document = {"changed": changed, "reasons": [each._asdict() for each in found]}
    return Result(document, "; ".join(f"traffic is still {each}" for each in found) or "traffic flows")
