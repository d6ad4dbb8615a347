# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Report whether connections of an address arrived at this host within the last minute, by the limits of connections, which see them before other firewalls.

If they do and get no answer, a firewall of this host is in the way. nous.vm.verify asks for the controller's, which is me.
--json prints {"address", "listed": bool, whether it is on the allow list, "arrived": bool, null where no limits are}.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from ...cli import Result, only_root
from ...network import listed
from .. import allowed, configuration, fetched_list, limits

if TYPE_CHECKING:
    import argparse

EXAMPLE = "sudo nous-vm gate arrived me"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", metavar="ADDRESS", help="me, or an address")


def run(arguments: argparse.Namespace) -> Result:
    only_root("sees who connects")
    network = ipaddress.ip_network(allowed.network(arguments.address))
    address, parameters = str(network.network_address), configuration.parameters()
    known = [*parameters.cidrs, *fetched_list.networks(), *(each.network for each in allowed.current())]
    found = limits.arrived(address) if parameters.limits else None
    document = {"address": address, "listed": listed(address, known), "arrived": found}
    return Result(document, f"{address}: {'arrived' if found else 'it is not known' if found is None else 'not within a minute'}")
