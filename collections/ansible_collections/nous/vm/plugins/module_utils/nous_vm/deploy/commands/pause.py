# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pause traffic, for a reason: clients wait, or are told to come back (--reject).

Others may have reasons of their own, a deployment for example; traffic flows when nobody has any. Nothing of it outlives a boot.
--json prints {"reasons": [{"owner", "why", "since", "reject", "until"}]}, with times in seconds since the epoch and until 0 for no end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import durations, pause
from ...cli import Result
from ...errors import UsageError
from ...events import record
from ...locks import whoever
from ...names import COMMAND, names
from ...programs import run as run_program
from ...systemd import ANSWER, systemctl
from .. import traffic
from ..proxy import Proxy

if TYPE_CHECKING:
    import argparse

EXAMPLE = 'sudo nous-vm pause "the disk is being replaced" --for 10m'
TIMER = "nous-vm-resume"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("why", help="the reason, for others to read")
    parser.add_argument("--reject", action="store_true", help="answer 503 with Retry-After instead of letting clients wait")
    parser.add_argument("--for", dest="duration", metavar="TIME", help="resume after this time, for example 90s, 10m, 2h; without it, when resume is called")


def seconds(duration: str) -> int:
    """Return a time in seconds; raise UsageError if it is none."""
    found = durations.seconds(duration, "smh")
    if found is None:
        raise UsageError(f"--for is {duration!r}; allowed is a number of seconds, minutes or hours, for example 90s, 10m or 2h")
    return found


def run(arguments: argparse.Namespace) -> Result:
    limit = seconds(arguments.duration) if arguments.duration else 0
    reason = pause.add(traffic.OPERATOR, f"{arguments.why} ({whoever()})", reject=arguments.reject, seconds=limit)
    systemctl("stop", f"{TIMER}.timer")
    if limit:
        timer = ["systemd-run", "--quiet", "--collect", f"--unit={TIMER}", f"--on-active={limit}", "--timer-property=AccuracySec=100ms"]
        run_program([*timer, str(COMMAND), "traffic"], timeout=ANSWER)
    found = traffic.apply(Proxy(names().proxy_admin))
    record("paused", why=arguments.why, reject=arguments.reject, seconds=limit or None)
    return Result({"reasons": [each._asdict() for each in found]}, f"traffic is {reason}")
