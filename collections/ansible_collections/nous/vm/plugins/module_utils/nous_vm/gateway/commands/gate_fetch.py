# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch the list of networks that caddy_gateway_anthropic_cidrs_url names, for nous-vm gate update: a unit without rights runs it.

--json prints {}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result
from ..configuration import list_url
from ..fetched import fetch

if TYPE_CHECKING:
    import argparse

EXAMPLE = "sudo systemctl start nous-gateway-list"


def run(_arguments: argparse.Namespace) -> Result:
    fetch(list_url())
    return Result({})
