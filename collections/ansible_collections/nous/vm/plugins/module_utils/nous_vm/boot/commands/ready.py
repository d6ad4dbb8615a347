# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is this host ready? Runs the health check and writes what came of it into the message of the day; prints it if it is news.

--json prints {"ready": bool, "message": text}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result
from ..ready import ready

if TYPE_CHECKING:
    import argparse

INTERNAL = True


def run(_arguments: argparse.Namespace) -> Result:
    healthy, text = ready()
    return Result({"ready": healthy, "message": text}, text.rstrip("\n"), 0 if healthy else 1)
