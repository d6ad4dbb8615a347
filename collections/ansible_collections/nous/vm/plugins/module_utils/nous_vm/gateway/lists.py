# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of the health check on the lists: how old the vendor's is, and who is allowed for a time."""

from __future__ import annotations

import datetime

from ..atomic import read_json
from . import allowed, configuration

OLD = 90  # days after which somebody should look at the vendor's page again


def vendor(today: datetime.date | None = None) -> tuple[str, str]:
    """Return status and detail of the row on the age of the vendor's list, which is the collection's own unless the inventory has another."""
    known = read_json(configuration.PARAMETERS).get("vendor_list")
    if not known:
        return "ok", "the inventory's own"
    age = ((today or datetime.datetime.now(datetime.UTC).date()) - datetime.date.fromisoformat(known["date"])).days
    detail = f"{known['source']}, {age} days old"
    if age > OLD:
        return "warn", f"{detail}; compare it with caddy_gateway_anthropic_cidrs, or update the collection: who is missing is in nous-vm gate denied"
    return "ok", detail


def for_a_time() -> tuple[str, str]:
    """Return status and detail of the row on who is allowed for a time."""
    found = allowed.current()
    return "warn" if found else "ok", ", ".join(map(str, found)) or "nobody"
