# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a candidate is fit: over stdio while the server before it goes on, and in that server's place once it answers there."""

from __future__ import annotations

from . import audited, candidate, checks
from .configuration import Configuration
from .generations import Generation
from .migration import command
from .request import Request
from .service import Service


def migration(configuration: Configuration, request: Request, previous: str | None) -> list[str]:
    """Return the command that moves the data to the release; an empty one if none is needed."""
    return command(configuration, request.release) if request.migrate and request.release != previous else []


def rehearse(service: Service, request: Request, made: Generation) -> str | None:
    """Try a generation that nobody has seen yet while the server goes on; return why it is not fit. What was good once is not asked again."""
    if request.leave or (made.accepted and not request.anew):
        return None
    unit, copy = service.generations.path(made) / service.names.server, service.backups.export if service.backups.has_database() else None
    moves = migration(service.configuration, request, service.releases.current())
    return candidate.unhealthy(service.configuration, service.names, request.release, unit=unit, migration=moves, copy=copy)


def in_place(service: Service, request: Request) -> str | None:
    """Return why a candidate that answers is not kept: what it does would not be recorded, or the operator's own checks reject it.

    The checks do not keep anybody from rolling back.
    """
    if reason := audited.fault(int(service.server.state().get("MainPID") or 0), service.configuration.audit):
        return reason
    return None if request.leave else next(checks.failures(service.configuration, service.names, request.release, checks.REQUIRED), None)
