# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role has to know of a host before it changes anything: what is on disk, and what runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import ForeignError
from ..network import holders
from ..systemd import show
from . import admin, configuration, fetched_list


def state(path: Path) -> dict[str, Any]:
    """Return the state of the gateway on this host. path: the file that is to be its own.

    installed: whether Caddy is. config: the path. owner: whose that file is. known_good: whether what is on disk was verified.
    served: whether that is what runs. port_holders: who else holds the gateway's ports, by port. list_url: where the list of networks is from that was fetched
    last, empty if there is none.
    """
    whose, installed = configuration.owner(path), configuration.CADDY.exists()
    ours = whose == "ours"
    return {
        "installed": installed,
        "config": str(path),
        "owner": whose,
        "known_good": ours and path == configuration.config() and configuration.known_good() == configuration.on_disk(),
        "served": ours and installed and served(),
        "list_url": known_list.url if (known_list := fetched_list.current()) else "",
        "port_holders": {} if ours else {str(port): holder for port, holder in holders(configuration.PORTS, configuration.UNIT).items()},
    }


def served() -> bool:
    """Tell whether Caddy answers, serves what is on disk, and runs in the unit that is on disk."""
    desired = admin.desired()
    try:
        same = admin.served(admin.socket_of(desired)) == desired
    except (OSError, ForeignError):
        return False
    return same and not (configuration.DROP_IN.exists() and show(configuration.UNIT, "NeedDaemonReload").get("NeedDaemonReload") == "yes")
