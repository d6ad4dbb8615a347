# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients as a person reads them: who let them in, and how long their tokens last."""

from __future__ import annotations

from typing import Any

from .. import times
from ..errors import UsageError
from ..foreign import printable
from . import record, state
from .configuration import Configuration


def listing(config: Configuration) -> list[dict[str, Any]]:
    """Return every client that the server knows, was let in, or has a token. Raises NousVmError."""
    found, known = state.read(config.directory), record.entries()
    return [_about(client_id, found, known.get(client_id)) for client_id in dict.fromkeys([*known, *found.clients, *(each.client_id for each in found.tokens)])]


def _about(client_id: str, found: state.State, entry: record.Entry | None) -> dict[str, Any]:
    tokens = [each for each in found.tokens_of(client_id) if not each.consumed]
    ends = {kind: max((each.expires_at for each in tokens if each.refresh == (kind == "refresh")), default=None) for kind in ("access", "refresh")}
    return {
        "client_id": client_id,
        "name": entry.name if entry else printable(str(found.clients.get(client_id, {}).get("client_name") or ""), 80),
        "let_in": str(entry) if entry else "",
        "registered": client_id in found.clients,
        "tokens": len(tokens),
        "access_until": ends["access"],
        "refresh_until": ends["refresh"],
    }


def shown(about: dict[str, Any]) -> str:
    """Return a client as two lines."""
    until = [f"{kind} until {times.minute(about[f'{kind}_until'])}" for kind in ("access", "refresh") if about[f"{kind}_until"]]
    gone = "" if about["registered"] else ", NOT KNOWN TO THE SERVER ANY MORE"
    head = f"{about['name'] or 'a client'}  {printable(about['client_id'], 80)}  {about['let_in'] or 'NO ENROLMENT LET IT IN'}{gone}"
    return f"{head}\n    {'; '.join(until) or 'no token'}"


def chosen(config: Configuration, name: str) -> list[str]:
    """Return the IDs of the clients that a name, or an ID, means. Raises UsageError."""
    known = listing(config)
    found = [each["client_id"] for each in known if name in (each["name"], each["client_id"])]
    if not found:
        names = ", ".join(each["name"] or each["client_id"] for each in known) or "none"
        raise UsageError(f"there is no client {printable(name)!r}; there are: {names}")
    return found
