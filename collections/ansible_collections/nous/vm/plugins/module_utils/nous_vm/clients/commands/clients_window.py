# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keep an enrolment open: nous-vm clients enrol runs this in a unit of its own.

--json prints {}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result
from ..configuration import load
from ..unit import keep_open

if TYPE_CHECKING:
    import argparse

INTERNAL = True
EXAMPLE = "nous-vm clients window"


def run(_arguments: argparse.Namespace) -> Result:
    keep_open(load())
    return Result({})
