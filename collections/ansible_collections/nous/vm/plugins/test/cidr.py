# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Is this a network that a gate can be given?"""

from __future__ import annotations

import ipaddress
import re
import typing as t

if t.TYPE_CHECKING:
    from collections.abc import Callable


def cidr(value: object) -> bool:
    """Tell whether a value is a network in CIDR notation that some peer of a connection can be in."""
    if not isinstance(value, str) or re.fullmatch(r"[0-9A-Fa-f.:]+/(0|[1-9][0-9]*)", value) is None:
        return False
    try:
        network = ipaddress.ip_network(value, strict=True)
    except ValueError:
        return False
    # A peer with an IPv4 address is seen by that address, so that nothing would ever match a mapped one.
    return network.version == 4 or network.network_address.ipv4_mapped is None


class TestModule:
    """Ansible's way to find the tests of this file."""

    def tests(self) -> dict[str, Callable[..., bool]]:
        """Return the tests by name."""
        return {"cidr": cidr}
