# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What /etc/nous-vm/watch.json says of the watch of this host."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import NamedTuple

from ..atomic import read_as
from ..errors import UsageError
from ..names import CONFIGURATION, STATE

PATH = CONFIGURATION / "watch.json"
SECRETS = CONFIGURATION / "watch"  # root's folder of the URLs, a file each
ALERT_URL, HEARTBEAT_URL = "alert-url", "heartbeat-url"
FOLDER = STATE / "watch"
UNIT = "host-watch.service"
TIMER = "host-watch.timer"


class Configuration(NamedTuple):
    """The watch, as the role configured it.

    units: full names of units that are watched, or beginnings that end with a hyphen. names: texts (paths, an address) that no units, timers, cron jobs or
    logrotate rules of others have. known: files of others that may have them. ports: TCP ports that the host's firewall has to let in. command: whom an alert
    is given to; empty for nobody. body: what the alert's URL gets, json, slack or text. secrets: which URLs there are. textfile: folder of node_exporter's
    collector. unattended: whether the host installs security updates by itself. reboot_time: when it reboots for them (HH:MM); empty for never.
    """

    units: list[str]
    names: list[str]
    known: list[str]
    ports: list[int]
    command: list[str]
    body: str
    secrets: list[str]
    textfile: str
    unattended: bool
    reboot_time: str


def load() -> Configuration:
    """Return the configuration that the role wrote. Raises UsageError if there is none."""
    found = read_as(Configuration, PATH)
    if found is None:
        raise UsageError(f"{PATH} cannot be used; apply the role host_watch to this host")
    return found


def secret(name: str) -> Path:
    """Return the file of a URL."""
    return SECRETS / name


def host() -> str:
    """Return the name that this host has in alerts."""
    return socket.gethostname()
