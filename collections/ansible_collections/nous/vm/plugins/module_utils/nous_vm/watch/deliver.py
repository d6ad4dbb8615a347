# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How somebody is told: every message goes out of a unit of its own, whose account has no right but to reach the network, and which alone has the URL."""

from __future__ import annotations

import json
from typing import Any

from ..errors import NousVmError
from ..names import COMMAND, PYTHON
from ..sandbox import Value, directives
from ..systemd import in_unit
from . import configuration, message
from .configuration import ALERT_URL, HEARTBEAT_URL, Configuration

COMMAND_WAY, URL_WAY = "command", "url"
TIMEOUT = 60.0  # seconds that one delivery gets, with all that is tried
OUTPUT = 4096  # bytes that are read of what a command prints


class NotTold(NousVmError):
    """Somebody could not be told. printed: what an operator's command printed last, which may be secret and is kept nowhere."""

    printed = ""


# It resolves names and speaks to foreign peers, and has no file but the credential.
NEEDS: dict[str, Value] = {
    "DynamicUser": True,
    "PrivateNetwork": None,
    "PrivateUsers": True,
    "ProtectProc": "invisible",
    "ProcSubset": "pid",
    "RemoveIPC": True,
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "SystemCallFilter": ["@system-service", "~@privileged @resources"],
    "MemoryMax": "128M",
    "TasksMax": "16",
    "SyslogIdentifier": "host-watch",
    "InaccessiblePaths": "-/etc/nous-vm -/etc/nous -/var/lib/nous -/var/log/nous -/var/log/nous-vm -/run/nous-vm",
}
# Whatever an operator's command is made of: an interpreter that compiles, a socket of the mail server.
COMMAND_NEEDS: dict[str, Value] = NEEDS | {"MemoryDenyWriteExecute": None, "SystemCallFilter": "@system-service", "MemoryMax": "256M", "TasksMax": "64"}


def ways(config: Configuration) -> list[str]:
    """Return the ways out that are configured."""
    return [*([COMMAND_WAY] if config.command else []), *([URL_WAY] if ALERT_URL in config.secrets else [])]


def deliver(config: Configuration, way: str, about: dict[str, Any]) -> None:
    """Tell one way out; it was told when this returns. Raises NotTold with why not."""
    if way == COMMAND_WAY:
        done = in_unit("", directives(COMMAND_NEEDS), config.command, timeout=TIMEOUT, stdin=json.dumps(about).encode(), limit=OUTPUT)
        if done.returncode:
            error = NotTold(f"host_watch_alert_command ended with the exit code {done.returncode}")
            error.printed = done.complaint
            raise error
    else:
        kind, content = message.body(about, config.body)
        _post(ALERT_URL, kind, content)


def heartbeat() -> None:
    """Tell the dead man's switch that this host is as expected. Raises NotTold."""
    _post(HEARTBEAT_URL, "text/plain; charset=utf-8", b"as expected\n")


def _post(name: str, kind: str, content: bytes) -> None:
    send = [PYTHON, "-I", str(COMMAND), "watch", "send", "--url", name, "--type", kind]
    properties = [*directives(NEEDS), f"LoadCredential={name}:{configuration.secret(name)}"]
    done = in_unit("", properties, send, timeout=TIMEOUT, stdin=content, limit=OUTPUT)
    if done.returncode:
        raise NotTold(done.complaint)
