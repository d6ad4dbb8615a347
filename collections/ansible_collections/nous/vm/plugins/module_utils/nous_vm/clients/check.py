# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clients' rows of the health check."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ..errors import NousVmError
from ..foreign import printable
from ..health import Row
from ..systemd import is_active
from . import configuration as paths
from . import record, state, window
from .configuration import Configuration

MEANS = {
    paths.ENROLMENT: "closed but for enrolments",
    paths.OPERATOR: "open to the operator's networks",
    paths.PUBLIC: "open to everybody: the server has to ask a person itself, or whoever knows its name gets a token",
}


def check() -> Iterator[Row]:
    """Yield a row on who may let a client in, on the clients, and on an enrolment."""
    config = paths.load()
    yield Row("authorize", "warn" if config.authorize == paths.PUBLIC else "ok", MEANS[config.authorize])
    yield enrolment()
    yield clients(config)


def enrolment() -> Row:
    """Return the row on an enrolment: open, interrupted, or none."""
    name, open_now, left = "enrolment", window.current(), window.pending()
    active = bool(open_now or left) and is_active(paths.UNIT)
    if active and open_now:
        return Row(name, "warn", f"of {open_now.name} is open for another {max(open_now.until - window.now(), 0) / 60:.0f} min")
    if left and not active:
        return Row(name, "warn", f"of {left.name} was interrupted; sudo nous-vm clients close completes it")
    return Row(name, "ok", "none is open")


def clients(config: Configuration) -> Row:
    """Return the row on the clients that the server knows: each was let in, and none that was let in is gone."""
    name = "clients"
    try:
        found = state.read(config.directory)
    except NousVmError as error:
        return Row(name, "fail", str(error))
    known, pending = record.entries(), window.pending()
    expected = {pending.client_id} if pending else set()
    strangers = {*found.clients, *(each.client_id for each in found.tokens)} - set(known) - expected
    gone = [f"{each.name} ({client_id})" for client_id, each in known.items() if client_id not in found.clients]
    if gone:
        return Row(name, "fail", f"{', '.join(gone)} was replaced or removed by somebody else; {_named(found, strangers) or 'no client'} is there")
    if strangers:
        status = "fail" if config.authorize == paths.ENROLMENT else "warn"
        return Row(name, status, f"{_named(found, strangers)} is there, and no enrolment let it in; revoke it, or if it is yours: sudo nous-vm clients adopt")
    return Row(name, "ok", ", ".join(f"{each.name} ({each.how} {time.strftime('%Y-%m-%d', time.gmtime(each.since))})" for each in known.values()) or "none")


def _named(found: state.State, client_ids: set[str]) -> str:
    """Return clients as they may be printed."""
    return ", ".join(printable(f"{found.clients.get(each, {}).get('client_name') or 'a client'} ({each})", 120) for each in sorted(client_ids)[:5])
