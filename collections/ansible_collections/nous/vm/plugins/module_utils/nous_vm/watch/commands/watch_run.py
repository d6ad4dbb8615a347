# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the check, and tell who is to be told if something changed. The timer host-watch.timer does it.

--json prints {"healthy": bool, "rows": [...]} as check does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result, only_root
from ...health import document
from .. import run as watch
from ..configuration import load

if TYPE_CHECKING:
    import argparse

INTERNAL = True
EXAMPLE = "sudo systemctl start host-watch.service"


def run(_arguments: argparse.Namespace) -> Result:
    only_root("sees enough to tell")
    found = watch.run(load())
    about = document(found)
    about.pop("message", None)
    red = [f"red: {row.part}: {row.name}: {row.detail}" for row in found if row.status == "fail"]
    return Result(about, "\n".join(red))  # a red row is no failure of the watch
