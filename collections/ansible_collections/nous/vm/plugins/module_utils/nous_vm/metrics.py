# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health check and what it counts, in the text format of Prometheus (version 0.0.4).

A subpackage may have a module metrics with metrics(), which yields samples. Each gets the limits that a part of the check has.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from .health import STATUSES, Check, Finding, Row, applied, run_parts
from .systemd import show_all

PREFIX = "nous_vm_"
NAME = re.compile(r"[a-z][a-z0-9_]*")
GAUGE, COUNTER = "gauge", "counter"


class Sample(NamedTuple):
    """One value. name: without the prefix that all have; that of a counter ends with _total. about: what the metric is, in words."""

    name: str
    about: str
    value: float
    labels: Mapping[str, str] = {}

    @property
    def kind(self) -> str:
        """Whether it only grows."""
        return COUNTER if self.name.endswith("_total") else GAUGE


def of_check(found: Iterable[Finding], seconds: float, now: float) -> Iterator[Sample]:
    """Yield the samples of the rows of a check that took so many seconds."""
    rows = list(found)
    yield Sample("check_healthy", "Whether no row of the check failed.", float(all(row.status != "fail" for row in rows)))
    yield Sample("check_timestamp_seconds", "When the check was run.", round(now, 3))
    yield Sample("check_duration_seconds", "How long it took.", round(seconds, 3))
    for status in STATUSES:
        yield Sample("check_rows", "Rows by status.", float(sum(row.status == status for row in rows)), {"status": status})
    for row in rows:
        labels = {"part": row.part, "row": row.name}
        yield Sample("check_row_status", "Status of a row: 0 ok, 1 warn, 2 unknown, 3 fail.", float(STATUSES.index(row.status)), labels)


def of_restarts(units: Iterable[str]) -> Iterator[Sample]:
    """Yield a sample for each of some services."""
    words = "How often systemd started a unit again since it was started by somebody."
    for unit, about in show_all(units, "NRestarts").items():
        yield Sample("unit_restarts_total", words, float(about.get("NRestarts") or 0), {"unit": unit})


def of_parts() -> list[Sample]:
    """Return the samples of the subpackages whose role was applied; what one cannot tell is absent."""
    found = run_parts({name: _part(name) for name in applied("metrics")})
    return [_sample(row.detail) for row in found if row.status == "ok"]


def _part(name: str) -> Check:
    """Return what gives the samples of a subpackage as a part of the check gives rows, so that they have its limits."""

    def check() -> Iterator[Row]:
        for each in importlib.import_module(f".{name}.metrics", __package__).metrics():
            yield Row(each.name, "ok", json.dumps([each.name, each.about, each.value, dict(each.labels)]))

    return check


def _sample(text: str) -> Sample:
    name, about, value, labels = json.loads(text)
    return Sample(str(name), str(about), float(value), {str(key): str(each) for key, each in labels.items()})


def text(samples: Iterable[Sample]) -> str:
    """Return samples as Prometheus reads them, those of a metric together."""
    by_name: dict[str, list[Sample]] = {}
    for each in samples:
        if NAME.fullmatch(each.name):
            by_name.setdefault(each.name, []).append(each)
    lines = []
    for name, group in by_name.items():
        lines += [f"# HELP {PREFIX}{name} {_escaped(group[0].about)}", f"# TYPE {PREFIX}{name} {group[0].kind}"]
        seen = set()
        for each in group:
            labels = ",".join(f'{key}="{_escaped(value, quotes=True)}"' for key, value in each.labels.items())
            if labels not in seen:  # what is there twice, no Prometheus reads
                seen.add(labels)
                lines.append(f"{PREFIX}{name}{f'{{{labels}}}' if labels else ''} {_number(each.value)}")
    return "".join(f"{line}\n" for line in lines)


def _escaped(words: str, quotes: bool = False) -> str:
    words = words.replace("\\", "\\\\").replace("\n", "\\n")
    return words.replace('"', '\\"') if quotes else words


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
