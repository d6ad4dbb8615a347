# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Watch a log under an account that may only read it, and tell the guard what is wrong; a unit of its own runs this.

--json prints {}.
"""

from __future__ import annotations

import grp
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

from ...cli import Result
from ...errors import UsageError
from ..watch import Reporter, Watched, opened

if TYPE_CHECKING:
    import argparse

INTERNAL = True
EXAMPLE = "nous-vm audit watch --folder /run/audit-logrotate-nous-watch --mode 0660 --owner root --group nous"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", type=Path, required=True, help="where it listens, and keeps what it has seen")
    parser.add_argument("--mode", required=True, help="permission bits that the log has to have, octal")
    parser.add_argument("--owner", required=True, help="its owner")
    parser.add_argument("--group", required=True, help="its group")


def run(arguments: argparse.Namespace) -> Result:
    expected = (int(arguments.mode, 8), pwd.getpwnam(arguments.owner).pw_uid, grp.getgrnam(arguments.group).gr_gid)
    logs = [Watched(descriptor, name, expected, arguments.folder / f"{name}.json") for descriptor, name in opened()]
    if not logs:
        raise UsageError("systemd passed no log to watch; this is for its unit audit-logrotate-NAME-watch.service alone")
    reporter = Reporter(logs, arguments.folder / "socket")
    while True:
        reporter.turn()
