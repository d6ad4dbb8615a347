# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows on the units of this host: that ours are there to be started, start at boot, and did not fail."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..health import Row
from ..systemd import show_all
from . import failures

FOLDER = Path("/etc/systemd/system")
SUFFIXES = (".service", ".socket", ".timer", ".path", ".slice", ".target")
JOURNAL = "systemd-journald.service"
PROPERTIES = ("LoadState", "ActiveState", "UnitFileState", "Result", "ExecMainStatus", "NeedDaemonReload")
RUN = "then run the site"
FAILED = "failed units"


def ours(patterns: list[str], folder: Path = FOLDER) -> list[str]:
    """Return the units that match: those named in full, and those of the host's own folder that begin so. patterns: as host_watch_units has them."""
    begins = tuple(each for each in patterns if each.endswith("-"))
    names = {each for each in patterns if not each.endswith("-")}
    if begins:
        names |= {name for name in os.listdir(folder) if name.startswith(begins) and name.endswith(SUFFIXES) and "@." not in name}
    return sorted(names)


def check(patterns: list[str]) -> Iterator[Row]:
    """Yield the rows on our own units, and on the journal."""
    names = ours(patterns)
    states = show_all([*names, JOURNAL], *PROPERTIES)
    journal = states.pop(JOURNAL)
    if names:
        yield from own_rows(states)
    yield journal_row(journal)


def own_rows(states: dict[str, dict[str, str]]) -> Iterator[Row]:
    """Yield the rows on our own units, by their states."""
    masked = sorted(unit for unit, about in states.items() if about.get("LoadState") == "masked")
    detail = f"{', '.join(masked)}; sudo systemctl unmask {' '.join(masked)}, {RUN}" if masked else f"none of {len(states)}"
    yield Row("masked units", "fail" if masked else "ok", detail)
    absent = sorted(unit for unit, about in states.items() if about.get("LoadState") not in ("loaded", "masked"))
    yield Row("units there", "fail" if absent else "ok", f"{', '.join(absent)} cannot be loaded; run the site" if absent else "all can be loaded")
    disabled = sorted(unit for unit, about in states.items() if about.get("UnitFileState") == "disabled")
    detail = f"not enabled: {', '.join(disabled)}; sudo systemctl enable --now {' '.join(disabled)}" if disabled else "all that can be enabled are"
    yield Row("units at boot", "fail" if disabled else "ok", detail)
    idle = sorted(unit for unit, about in states.items() if unit.endswith((".timer", ".socket", ".path")) and about.get("ActiveState") != "active")
    idle = [unit for unit in idle if unit not in masked + absent]
    yield Row("timers", "fail" if idle else "ok", f"not started: {', '.join(idle)}; sudo systemctl start {' '.join(idle)}" if idle else "all are started")
    yield failed_row(states)
    stale = sorted(unit for unit, about in states.items() if about.get("NeedDaemonReload") == "yes")
    yield Row("units as on disk", "warn" if stale else "ok", f"changed on disk: {', '.join(stale)}; sudo systemctl daemon-reload" if stale else "yes")


def failed_row(states: dict[str, dict[str, str]]) -> Row:
    """Return the row on units that are failed, or were a while ago."""
    now = {unit: about.get("Result", "") for unit, about in states.items() if failures.is_failure(about)}
    if now:
        return Row(FAILED, "fail", "; ".join(f"{unit} failed ({how}): journalctl --unit={unit}" for unit, how in sorted(now.items())))
    lately = lately_failed()
    return Row(FAILED, "warn" if lately else "ok", lately or "none")


def lately_failed() -> str:
    """Return which units failed a while ago and are not failed now; nothing if none did."""
    found = [f"{unit} failed ({how}) in the last {failures.RECENT / 60:.0f} min" for unit, how in failures.recent().items()]
    return "; ".join(found)


def journal_row(about: dict[str, str]) -> Row:
    """Return the row on the journal, which everything else prints to."""
    state, loaded = about.get("ActiveState"), about.get("LoadState")
    if loaded == "masked":
        return Row("journal", "fail", f"{JOURNAL} is masked; sudo systemctl unmask {JOURNAL} && sudo systemctl start {JOURNAL}")
    return Row("journal", "ok" if state == "active" else "fail", f"{JOURNAL} is {state}{'' if state == 'active' else f'; sudo systemctl start {JOURNAL}'}")
