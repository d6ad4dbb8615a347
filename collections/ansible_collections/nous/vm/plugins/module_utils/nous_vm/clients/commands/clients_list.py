# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List the clients of the server: who let each of them in, and how long their tokens last.

--json prints {"clients": [{"client_id", "name", "let_in", "registered": bool, "tokens": number, "access_until", "refresh_until": seconds since the epoch}]}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...cli import Result, only_root
from ..configuration import load
from ..listing import listing, shown

if TYPE_CHECKING:
    import argparse


def run(_arguments: argparse.Namespace) -> Result:
    only_root("sees the clients")
    found = listing(load())
    return Result({"clients": found}, "\n".join(map(shown, found)) or "no client was let in; sudo nous-vm clients enrol NAME does")
