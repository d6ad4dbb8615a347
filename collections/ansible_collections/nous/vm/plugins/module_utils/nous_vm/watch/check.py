# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of the health check on the host itself, and on who is told."""

from __future__ import annotations

from collections.abc import Iterator

from ..health import Row, permissions, sandbox
from . import clock, firewall, identity, space, strangers, told, unattended, units, updates
from .configuration import UNIT, load, secret

SCORE = 5.0  # the most that systemd-analyze security may give the unit: the check looks at everything


def check() -> Iterator[Row]:
    """Yield a row for each thing that is looked at."""
    config = load()
    yield from told.check(config)
    yield from space.check()
    yield from units.check(config.units)
    yield clock.check()
    yield identity.check()
    yield updates.security()
    yield updates.reboot(config.reboot_time)
    if config.unattended:
        yield unattended.check()
    if config.ports:
        yield firewall.check(config.ports)
    if config.names:
        yield strangers.check(config.names, config.units, config.known)
    for name in config.secrets:
        yield Row(f"mode of {name}", *permissions(secret(name), "0600 root:root"))
    yield sandbox(UNIT, SCORE)
