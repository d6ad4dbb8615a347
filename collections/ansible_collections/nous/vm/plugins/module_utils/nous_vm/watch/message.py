# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody is told: a JSON document, and the lines of it for a person."""

from __future__ import annotations

import json
from typing import Any

from .. import times
from . import configuration
from .state import Outbox, State

SHOWN = 20  # rows in the text for a person; the document has all
WELL = "as expected again"


def document(state: State, outbox: Outbox, now: float) -> dict[str, Any]:
    """Return the document of all that is to be told.

    status: red or well. id: the same whenever the same is told again. red: the rows that are red now. changes: what became red, and well, since the last time.
    """
    host = configuration.host()
    red = [{"row": row, "detail": about["detail"], "since": times.iso(float(about["since"]))} for row, about in state.red.items()]
    changes = [{"at": times.iso(float(each["at"])), "red": each["red"], "well": each["well"]} for each in outbox.changes]
    about = {"host": host, "status": "red" if red else "well", "id": f"{host}-{state.number}", "at": times.iso(now), "red": red, "changes": changes}
    return about | {"omitted_changes": outbox.omitted, "text": text(host, red, outbox)}


def text(host: str, red: list[dict[str, Any]], outbox: Outbox) -> str:
    """Return what a person reads."""
    well = sorted({row for change in outbox.changes for row in change["well"]} - {each["row"] for each in red})
    passed = sorted({row for change in outbox.changes for row in change["red"]} & set(well))
    head = f"{host}: {len(red)} {'row' if len(red) == 1 else 'rows'} of the check red" if red else f"{host}: {WELL}"
    lines = [head, *(f"red: {each['row']}: {each['detail']}" for each in red[:SHOWN])]
    lines += [f"and {len(red) - SHOWN} more: sudo nous-vm status"] if len(red) > SHOWN else []
    lines += [f"well again: {', '.join(well[:SHOWN])}"] if well else []
    lines += [f"was red in between: {', '.join(passed[:SHOWN])}"] if passed and not red else []
    return "\n".join(lines)


def test(now: float) -> dict[str, Any]:
    """Return the document of a test."""
    host = configuration.host()
    words = f"{host}: a test of its alerts; nothing is wrong"
    about: dict[str, Any] = {"host": host, "status": "test", "id": f"{host}-test-{now:.0f}", "at": times.iso(now), "red": [], "changes": []}
    return about | {"omitted_changes": 0, "text": words}


def body(about: dict[str, Any], kind: str) -> tuple[str, bytes]:
    """Return the type and content of a request with a document. kind: json, slack or text."""
    if kind == "text":
        return "text/plain; charset=utf-8", str(about["text"]).encode()
    return "application/json", json.dumps({"text": about["text"]} if kind == "slack" else about).encode()
