# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List who may use the server: the inventory's allow list, the list that is fetched, and who is allowed for a time.

--motd prints the last alone, for who logs in. --json prints {"cidrs": [network], "fetched": [network], "for_a_time": [{"network", "until": seconds since the
epoch, "by"}]}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result
from ..allowed import current
from ..configuration import parameters
from ..fetched_list import networks

if TYPE_CHECKING:
    import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--motd", action="store_true", help="as the message of the day; nothing if nobody is allowed for a time")


def run(arguments: argparse.Namespace) -> Result:
    listed, fetched, allowed = parameters().cidrs, networks(), current()
    lines = [*(f"{each}  by the inventory" for each in listed), *(f"{each}  by the list that is fetched" for each in fetched), *map(str, allowed)]
    if arguments.motd:
        lines = [f"The gateway also allows {each}; sudo nous-vm gate forget {each.network}" for each in allowed]
    document = {"cidrs": listed, "fetched": fetched, "for_a_time": [each._asdict() for each in allowed]}
    return Result(document, "\n".join(lines))
