# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom this host asks for names: the kernel has to let the proxy reach them, wherever they are."""

from __future__ import annotations

import ipaddress
import os

from ..errors import ForeignError
from ..foreign import read_file

RESOLV = "/etc/resolv.conf"
MOST = 3  # that the C library asks


def resolvers() -> list[str]:
    """Return the addresses of the name servers of this host; none if that cannot be read."""
    try:
        lines = read_file(os.path.realpath(RESOLV)).decode("utf-8", "replace").splitlines()
    except (OSError, ForeignError):
        return []
    found = []
    for words in (line.split() for line in lines):
        if len(words) > 1 and words[0] == "nameserver" and is_address(words[1].partition("%")[0]):
            found.append(words[1].partition("%")[0])
    return found[:MOST]


def is_address(text: str) -> bool:
    """Tell whether a text is an address of IPv4 or IPv6."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
