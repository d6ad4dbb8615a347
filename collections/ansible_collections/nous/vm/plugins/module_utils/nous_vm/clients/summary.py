# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The line of nous-vm status on the clients, and what to do about rows of the check."""

from __future__ import annotations

from collections.abc import Iterator

from . import check
from .configuration import load

LIST = "sudo nous-vm clients list"
NEXT_STEPS = {"clients": LIST, "enrolment": "sudo nous-vm clients close", "authorize": "caddy_gateway_authorize: enrolment, and ansible-playbook nous.vm.site"}


def summary() -> Iterator[tuple[str, str]]:
    """Yield who may use the server."""
    yield "clients", check.clients(load()).detail
