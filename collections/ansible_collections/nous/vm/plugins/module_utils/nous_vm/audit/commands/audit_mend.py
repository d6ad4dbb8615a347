# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After a lost or torn record: cut what is torn, keep it aside, start what writes the log anew, and watch from the last record on.

A server keeps the head of its chain in memory and reads it from the file's last line when it starts. The guard runs this by itself.

--json prints {"name", "changed": bool, "steps": [what was done]}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..invocation import add_arguments, change
from ..mend import mend

if TYPE_CHECKING:
    import argparse

    from ...cli import Result

EXAMPLE = "sudo nous-vm audit mend --name nous"
arguments = add_arguments


def run(arguments: argparse.Namespace) -> Result:
    return change(arguments, "mend", mend)
