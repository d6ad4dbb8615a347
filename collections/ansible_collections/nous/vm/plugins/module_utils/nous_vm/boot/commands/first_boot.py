# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take this host from its first boot to a running nous. nous-vm-first-boot.service does so on a new VM, by the user-data of the playbook cloud_init.

--json prints {"message": text}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result
from .. import first_boot

if TYPE_CHECKING:
    import argparse

INTERNAL = True
EXAMPLE = "sudo systemctl restart nous-vm-first-boot.service"


def run(_arguments: argparse.Namespace) -> Result:
    code = first_boot.main([])
    return Result({"message": "this host is in its expected state" if code == 0 else "see journalctl --unit=nous-vm-first-boot.service"}, "", code)
