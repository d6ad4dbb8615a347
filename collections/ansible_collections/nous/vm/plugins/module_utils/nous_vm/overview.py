# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person wants to know of a host on one screen: a line of each subpackage, and the rows of the health check that need attention.

A subpackage has a module summary with summary(), which yields labels and texts, and may have NEXT_STEPS: what to do about a row, by the beginning of its name;
nothing if the row itself names it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from . import pause
from .health import Check, Finding, Row, applied, parts, run_parts

ORDER = ("nous", "release", "health", "gateway", "denied", "audit", "key", "backups", "traffic")  # of the lines; others follow
LINES = "lines of "  # before the name of a subpackage, where it gives lines and no rows
COMPARE = "ansible-playbook nous.vm.site --check --diff"


class Attention(NamedTuple):
    """A row that failed, or of which a person should know, and what to do next: a command if there is one, nothing if the detail has it."""

    part: str
    name: str
    status: str
    detail: str
    next_step: str


class Overview(NamedTuple):
    """One screen. lines: what is known, by its label. attention: rows that failed, and then those of which a person should know. unknown: other rows."""

    lines: dict[str, str]
    attention: list[Attention]
    unknown: list[Finding]

    @property
    def healthy(self) -> bool:
        """Whether no row failed."""
        return all(row.status != "fail" for row in self.attention)

    def document(self) -> dict[str, Any]:
        """Return what status prints as JSON."""
        failed = [f"{row.part}: {row.name}: {row.detail}" for row in self.attention if row.status == "fail"]
        about = {"healthy": self.healthy, "lines": self.lines, "attention": [row._asdict() for row in self.attention]}
        about["unknown"] = [{"part": row.part, "name": row.name, "detail": row.detail} for row in self.unknown]
        about["pauses"] = [reason.owner for reason in pause.reasons()]
        return about | {"message": f"not in the expected state: {'; '.join(failed)}"} if failed else about


def look() -> list[Finding]:
    """Return the rows of the check, and the lines of subpackages, each of which gets as long for its lines as for its rows."""
    given = {f"{LINES}{name}": _lines(name) for name in applied("summary")}
    return run_parts(parts() | given)


def rows_of(found: list[Finding]) -> list[Finding]:
    """Return the rows of the check alone."""
    return [row for row in found if not row.part.startswith(LINES)]


def overview(found: list[Finding] | None = None) -> Overview:
    """Return what is to be known of this host. found: what a look gave; by default one is taken now."""
    found = look() if found is None else found
    rows = rows_of(found)
    lines = {row.name: row.detail for row in found if row.part.startswith(LINES) and row.status == "ok"}
    lines["health"] = _health(rows)
    lines["traffic"] = "; ".join(f"paused: {reason}" for reason in pause.reasons()) or "flows"
    known = [*(label for label in ORDER if label in lines), *(label for label in lines if label not in ORDER)]
    attention = [Attention(*row, _next_step(row)) for status in ("fail", "warn") for row in rows if row.status == status]
    return Overview({label: lines[label] for label in known}, attention, [row for row in rows if row.status == "unknown"])


def _next_step(row: Finding) -> str:
    """Return what to do about a row, by the subpackage's own table: the beginning of the row's name, and what to do."""
    steps: dict[str, str] = {}
    if row.part in applied("summary"):
        steps = getattr(importlib.import_module(f".{row.part}.summary", __package__), "NEXT_STEPS", {})
    return next((step for name, step in steps.items() if row.name.startswith(name)), COMPARE)


def _lines(name: str) -> Check:
    """Return the lines of a subpackage as a part of the check gives rows, so that they have its limits."""

    def check() -> Iterator[Row]:
        for label, text in importlib.import_module(f".{name}.summary", __package__).summary():
            yield Row(label, "ok", text)

    return check


def _health(rows: list[Finding]) -> str:
    counted = [(sum(row.status == status for row in rows), word) for status, word in (("fail", "failed"), ("warn", "to look at"), ("unknown", "unknown"))]
    others = [f"{count} {word}" for count, word in counted if count]
    return f"{'NOT ' if counted[0][0] else ''}healthy, {len(rows)} checks{''.join(f', {each}' for each in others)}"
