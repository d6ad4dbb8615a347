# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server of this host, by what there is to know of it."""

from __future__ import annotations

from typing import NamedTuple

from ..names import Names, names
from .backups import Backups
from .configuration import Configuration, load
from .proxy import Proxy
from .releases import Releases
from .server import Server
from .settings import Settings


class Service(NamedTuple):
    """The parts of a deployment."""

    configuration: Configuration
    names: Names
    proxy: Proxy
    server: Server
    releases: Releases
    settings: Settings
    backups: Backups


def service(configuration: Configuration | None = None) -> Service:
    """Return the server of this host; raise UsageError if its configuration cannot be used."""
    about, known = configuration or load(), names()
    return Service(
        configuration=about,
        names=known,
        proxy=Proxy(known.proxy_admin),
        server=Server(known, about.address, about.host, about.drain),
        releases=Releases(about),
        settings=Settings(about, known),
        backups=Backups(about, known),
    )
