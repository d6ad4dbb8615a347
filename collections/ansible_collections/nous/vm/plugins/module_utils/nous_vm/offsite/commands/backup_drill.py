# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restore the newest backup into a scratch folder, without a cache and in a sandbox, verify all of it, and delete it.

--json prints {"ok", "seconds", "snapshot", "of"}: how long it took, and of when the backup is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result, only_root

if TYPE_CHECKING:
    import argparse


def run(_arguments: argparse.Namespace) -> Result:
    from ..configuration import load
    from ..operations import drill

    only_root("has the password")
    done = drill(load())
    if not done["ok"]:
        return Result(done | {"message": done["why"]}, f"no host could be made of it: {done['why']}", 1)
    return Result(done, f"snapshot {done['snapshot']} was restored and verified in {done['seconds']} s")
