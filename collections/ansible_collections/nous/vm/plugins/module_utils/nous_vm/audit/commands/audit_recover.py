# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Complete a rotation that was interrupted, or take it back, set the flags of log and archives, thaw the units; changes nothing when all is well.

--json prints {"name", "changed": bool, "steps": [what was done]}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..invocation import add_arguments, change
from ..rotation import Rotation

if TYPE_CHECKING:
    import argparse

    from ...cli import Result

EXAMPLE = "sudo nous-vm audit recover --name nous"
arguments = add_arguments


def run(arguments: argparse.Namespace) -> Result:
    return change(arguments, "recover", Rotation.recover)
