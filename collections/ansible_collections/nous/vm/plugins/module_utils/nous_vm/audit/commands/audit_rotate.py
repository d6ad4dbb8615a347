# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotate a log: make archive 1 of all records but the last, in place and without loss.

The units that write are frozen while the tail is copied, the log is cut and the archives get their new names; those before the first are compressed.
That there is nothing to rotate is a success.

--json prints {"name", "changed": bool, "steps": [what was done]}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..invocation import add_arguments, change
from ..rotation import Rotation

if TYPE_CHECKING:
    import argparse

    from ...cli import Result

EXAMPLE = "sudo nous-vm audit rotate --name nous"
arguments = add_arguments


def run(arguments: argparse.Namespace) -> Result:
    return change(arguments, "rotate", Rotation.rotate)
