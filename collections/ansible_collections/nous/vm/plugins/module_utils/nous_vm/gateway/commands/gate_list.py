# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List who may use the server: the inventory's allow list, and who is allowed for a time.

--json prints {"cidrs": [network], "for_a_time": [{"network", "until": seconds since the epoch, "by"}]}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result
from ..allowed import current
from ..configuration import parameters

if TYPE_CHECKING:
    import argparse


def run(_arguments: argparse.Namespace) -> Result:
    listed, allowed = parameters().cidrs, current()
    lines = [*(f"{each}  by the inventory" for each in listed), *(f"{each}" for each in allowed)]
    return Result({"cidrs": listed, "for_a_time": [each._asdict() for each in allowed]}, "\n".join(lines))
