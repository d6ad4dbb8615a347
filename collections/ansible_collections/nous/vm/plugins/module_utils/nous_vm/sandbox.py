# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one list of sandbox directives: what every unit of nous.vm has, and how a unit asks for other than that.

The roles' templates take it through the filter nous.vm.sandbox, transient units through directives().
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

Value: TypeAlias = "str | int | bool | list[str] | None"

# The strictest that all can live with; what a unit needs beyond that it names itself. None leaves a directive out.
BASE: dict[str, Value] = {
    "NoNewPrivileges": True,
    "CapabilityBoundingSet": "",
    "AmbientCapabilities": "",
    "ProtectSystem": "strict",
    "ProtectHome": True,
    "ProtectClock": True,
    "ProtectControlGroups": True,
    "ProtectHostname": True,
    "ProtectKernelLogs": True,
    "ProtectKernelModules": True,
    "ProtectKernelTunables": True,
    "PrivateDevices": True,
    "DevicePolicy": "closed",
    "PrivateIPC": True,
    "PrivateNetwork": True,
    "PrivateTmp": True,
    "KeyringMode": "private",
    "LockPersonality": True,
    "MemoryDenyWriteExecute": True,
    "RestrictAddressFamilies": "AF_UNIX",
    "RestrictNamespaces": True,
    "RestrictRealtime": True,
    "RestrictSUIDSGID": True,
    "SystemCallArchitectures": "native",
    "SystemCallFilter": ["@system-service", "~@privileged"],
    "SystemCallErrorNumber": "EPERM",
    "UMask": "0077",
    "LimitCORE": 0,
}

# Of a unit that needs no socket. systemd-run knows no "none" here.
NO_SOCKETS = "~AF_UNIX AF_INET AF_INET6 AF_NETLINK AF_PACKET"


def directives(changes: Mapping[str, Value] | None = None) -> list[str]:
    """Return the directives of a unit, one a line: those of all units with the changes that it asks for. A list is a directive that stands several times."""
    return list(_written(BASE | dict(changes or {})))


def _written(wanted: Mapping[str, Value]) -> Iterator[str]:
    for name, value in wanted.items():
        for each in value if isinstance(value, list) else [] if value is None else [value]:
            yield f"{name}={'yes' if each is True else 'no' if each is False else each}"
