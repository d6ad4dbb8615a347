# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This is another host than the one whose disk it was made of: make what only one of them may have, and print what remains for you.

New are the key that signs tokens and its published set, and the key that signs checkpoints; the private halves from before are deleted here, and the other host
goes on with them. Run no playbook meanwhile.

--json prints {"done": [sentence], "remains": [sentence]}.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ... import events, locks
from ...cli import Result, only_root
from ...errors import UsageError
from ...health import applied
from ...machine import machine
from .. import identity

if TYPE_CHECKING:
    import argparse

EXAMPLE = "sudo nous-vm identity renew"
MACHINE_ID = "a machine-id of its own: sudo rm --force /etc/machine-id /var/lib/dbus/machine-id; sudo systemd-machine-id-setup; sudo systemctl reboot"
SSH = "host keys of SSH of its own: sudo rm /etc/ssh/ssh_host_*; sudo dpkg-reconfigure openssh-server"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="though this is the machine that is remembered: its clients have to be let in again")


def run(arguments: argparse.Namespace) -> Result:
    only_root("decides that")
    with locks.held("identity", "renew"):
        known, now = identity.remembered(), machine()
        same = known is not None and not identity.changed(known.machine, now)
        if same and not arguments.force:
            raise UsageError("this is the machine that is remembered, so it is no copy that could be told from the other; --force renews it all the same")
        done: list[str] = []
        remains: list[str] = []
        modules = [importlib.import_module(f"...{name}.renewal", __package__) for name in applied("renewal")]
        for module in sorted(modules, key=lambda each: not getattr(each, "FIRST", False)):
            for each in module.renew() if hasattr(module, "renew") else ():
                done.append(each)
            remains += module.REMAINS
        if known is None or known.machine_id == now.machine_id:
            remains.append(MACHINE_ID)
        remains.append(SSH)
        identity.remember(now)
        events.record("identity renewed", **now.names())
    steps = [f"  {number}. {each}" for number, each in enumerate(remains, 1)]
    lines = [*done, "this machine is remembered as the one of this host", "", "What remains for you:", *steps]
    return Result({"done": done, "remains": remains}, "\n".join(lines))
