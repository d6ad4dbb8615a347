# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List the backups off this host, the latest last.

--json prints {"snapshots": [{"id", "time", "host"}]}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result, only_root

if TYPE_CHECKING:
    import argparse


def run(_arguments: argparse.Namespace) -> Result:
    from ...foreign import printable
    from ..configuration import load
    from ..restic import Restic

    only_root("has the password")
    found = [{"id": each["short_id"], "time": each["time"][:19], "host": printable(each["hostname"])} for each in Restic(load()).snapshots()]
    return Result({"snapshots": found}, "\n".join(f"{each['id']}  {each['time']}  {each['host']}" for each in found) or "there is none")
