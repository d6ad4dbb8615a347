# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait until the enrolment that is open is over, and print what came of it.

--json prints {"name", "state": enrolled or closed, "events": [sentence]}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result
from ...errors import UsageError
from .. import outcome

if TYPE_CHECKING:
    import argparse

LONGEST = 3800.0  # seconds: more than a window lasts
EXAMPLE = "sudo nous-vm clients wait --json"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--timeout", type=float, default=LONGEST, metavar="SECONDS", help="how long to wait (default: until it is over)")


def run(arguments: argparse.Namespace) -> Result:
    return result(next((each for each in outcome.follow(arguments.timeout) if isinstance(each, outcome.Outcome)), None))


def result(found: outcome.Outcome | None) -> Result:
    """Return what came of an enrolment, as a command prints it."""
    if found is None:
        raise UsageError("there was no enrolment since the host was started; sudo nous-vm clients enrol NAME begins one")
    message = {
        outcome.ENROLLED: f"{found.name} is in: it has its first token, and /authorize is closed again",
        outcome.CLOSED: f"{found.name} is not in: it got no token, /authorize is closed, and the clients are those from before",
        outcome.OPEN: f"the enrolment of {found.name} is still open",
    }[found.state]
    document = found._asdict() | ({} if found.state == outcome.ENROLLED else {"message": message})
    return Result(document, message, 0 if found.state == outcome.ENROLLED else 1)
