# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server of this host, by what there is to know of it."""

from __future__ import annotations

from typing import NamedTuple

from ..names import Names, names
from .backups import Backups
from .configuration import Configuration, load
from .generations import Generations
from .proxy import Proxy
from .releases import Releases
from .running import Running
from .server import Server
from .units import Units


class Service(NamedTuple):
    """The parts of a deployment."""

    configuration: Configuration
    names: Names
    proxy: Proxy
    server: Server
    generations: Generations
    units: Units
    running: Running
    releases: Releases
    backups: Backups


def service(configuration: Configuration | None = None) -> Service:
    """Return the server of this host; raise UsageError if its configuration cannot be used."""
    about, known = configuration or load(), names()
    generations = Generations(about, known)
    current = generations.current()  # what runs may listen elsewhere than the role requests
    return Service(
        configuration=about,
        names=known,
        proxy=Proxy(known.proxy_admin),
        server=Server(known, current.address if current else about.address, current.host if current else about.host, about.drain),
        generations=generations,
        units=Units(about, generations),
        running=Running(about, known, generations),
        releases=Releases(about, generations),
        backups=Backups(about, known),
    )
