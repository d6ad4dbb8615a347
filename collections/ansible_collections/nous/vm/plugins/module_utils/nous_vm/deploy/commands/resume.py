# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resume traffic that an operator paused. What others paused, a deployment for example, is theirs to resume.

With --unaudited, the guard of the audit log lets answers out for a time that are not recorded: to break the glass. It is in trail, journal and check.

--json prints {"changed": bool, "reasons": [...]}: whether there was an operator's reason, and those that remain, as pause prints them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import pause
from ...cli import Result
from ...errors import UsageError
from ...events import record
from ...locks import whoever
from ...names import names
from ...systemd import systemctl
from .. import traffic
from ..proxy import Proxy
from .pause import TIMER, seconds

if TYPE_CHECKING:
    import argparse

EXAMPLE = 'sudo nous-vm resume, or sudo nous-vm resume --unaudited --for 10m --reason "an answer is worth more than its record"'


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--unaudited", action="store_true", help="let answers out although they are not recorded; needs --for and --reason")
    parser.add_argument("--for", dest="duration", metavar="TIME", help="for so long, for example 90s, 10m, 2h")
    parser.add_argument("--reason", help="why, for others to read")


def run(arguments: argparse.Namespace) -> Result:
    if bool(arguments.unaudited) != bool(arguments.duration) or bool(arguments.unaudited) != bool(arguments.reason):
        raise UsageError("--unaudited, --for and --reason belong together, for example --unaudited --for 10m --reason 'the disk is being replaced'")
    if arguments.unaudited:
        limit = seconds(arguments.duration)
        pause.allow_unaudited(f"{arguments.reason} ({whoever()})", limit)
        pause.clear(pause.GUARD)
        record("resumed unaudited", why=arguments.reason, seconds=limit)
    changed = pause.clear(traffic.OPERATOR)
    systemctl("stop", f"{TIMER}.timer")
    found = traffic.apply(Proxy(names().proxy_admin))
    if changed:
        record("resumed")
    document = {"changed": changed, "reasons": [each._asdict() for each in found]}
    return Result(document, "; ".join(f"traffic is still {each}" for each in found) or "traffic flows")
