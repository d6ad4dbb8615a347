# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make this bare host the one that a backup was made of: the playbook nous.vm.restore_host runs this before it deploys.

A host that has a file of the backup already is left as it is. --json prints {"changed", "host", "machine", "snapshot", "of", "release", "seconds"}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result, only_root

if TYPE_CHECKING:
    import argparse

INTERNAL = True
EXAMPLE = "sudo nous-vm restore host"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--snapshot", default="latest", help="its name, as nous-vm backup list prints it; the newest by default")


def run(arguments: argparse.Namespace) -> Result:
    from ..configuration import load
    from ..placing import restore

    only_root("may change all of this host")
    done = restore(load(), arguments.snapshot)
    return Result(done, f"restored from {done['host']} (machine {done['machine']}), snapshot {done['snapshot']}, in {done['seconds']} s")
