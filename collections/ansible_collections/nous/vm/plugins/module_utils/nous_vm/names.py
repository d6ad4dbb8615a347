# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place that makes the names of units, folders and sockets of a server."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

CONFIGURATION = Path("/etc/nous-vm")
STATE = Path("/var/lib/nous-vm")
RUNTIME = Path("/run/nous-vm")
LIBRARY = Path("/usr/local/lib/nous-vm")
COMMAND = Path("/usr/local/sbin/nous-vm")
MANAGED = b"# Managed by Ansible (nous.vm)"  # how every file begins that a role wrote, and that may have a comment
PYTHON = "/usr/bin/python3"  # what runs it


class Names(NamedTuple):
    """The names of one server's units, folders and sockets."""

    slice: str
    server: str
    flush: str
    flush_timer: str
    proxy: str
    proxy_socket: str
    recover: str
    migrate: str
    copy: str
    candidate: str
    check: str
    fetch: str
    build: str
    follow: str
    follow_timer: str
    proxy_admin: Path
    proxy_account: str


def names(instance: str = "") -> Names:
    """Return the names of a server's units, folders and sockets. instance: empty as long as a host has one server."""
    base = f"nous-{instance}" if instance else "nous"
    return Names(
        slice=f"{base}.slice",
        server=f"{base}.service",
        flush=f"{base}-state-flush.service",
        flush_timer=f"{base}-state-flush.timer",
        proxy=f"{base}-proxy.service",
        proxy_socket=f"{base}-proxy.socket",
        recover=f"{base}-recover.service",
        migrate=f"{base}-migrate.service",
        copy=f"{base}-copy.service",
        candidate=f"{base}-candidate.service",
        check=f"{base}-check.service",
        fetch=f"{base}-fetch.service",
        build=f"{base}-build.service",
        follow=f"{base}-follow.service",
        follow_timer=f"{base}-follow.timer",
        proxy_admin=Path(f"/run/{base}-proxy-admin/haproxy.sock"),
        proxy_account=f"{base}-proxy",
    )
