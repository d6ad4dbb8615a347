# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows on the watch itself: that it runs, and that somebody is told."""

from __future__ import annotations

import time
from collections.abc import Iterator

from .. import times
from ..health import Row
from ..systemd import show
from . import deliver, state
from .configuration import HEARTBEAT_URL, TIMER, Configuration

LATE = 900.0  # seconds since the last run, and since the last heartbeat that was taken


def check(config: Configuration) -> Iterator[Row]:
    """Yield the rows."""
    known = state.load()
    yield watch(known)
    yield alerts(config, known)
    if HEARTBEAT_URL in config.secrets:
        yield heartbeat(known)


def watch(known: state.State) -> Row:
    """Return the row on the timer."""
    about = show(TIMER, "ActiveState", "ActiveEnterTimestampMonotonic")
    if about.get("ActiveState") != "active":
        return Row("watch", "fail", f"{TIMER} is {about.get('ActiveState')}; sudo systemctl enable --now {TIMER}")
    started = time.monotonic() - int(about.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
    age = time.time() - known.at
    if min(age, started) > LATE:
        return Row("watch", "fail", f"the last run was {age / 60:.0f} min ago; journalctl --unit=host-watch.service")
    return Row("watch", "ok", f"last run {times.iso(known.at)}, {known.seconds:g} s" if known.at else "not yet")


def alerts(config: Configuration, known: state.State) -> Row:
    """Return the row on who is told, and whether it arrives."""
    name = "alerts"
    if not (ways := deliver.ways(config)):
        return Row(name, "ok", "nobody is told; set host_watch_alert_url or host_watch_alert_command")
    for way, outbox in known.outboxes.items():
        if outbox.problem and outbox.changes:
            ends = "given up until something changes" if outbox.gave_up else f"tried again from {times.iso(outbox.due)} on"
            return Row(name, "fail", f"{len(outbox.changes)} changes wait for the {way}: {outbox.problem}; {ends}; sudo nous-vm watch test")
    return Row(name, "ok", f"to the {' and the '.join(ways)}; nothing waits")


def heartbeat(known: state.State) -> Row:
    """Return the row on the dead man's switch."""
    at, problem = float(known.heartbeat.get("at", 0.0)), str(known.heartbeat.get("problem", ""))
    if problem:
        return Row("heartbeat", "warn", f"the last one that was taken: {times.iso(at) if at else 'none'}; {problem}")
    return Row("heartbeat", "ok", f"last {times.iso(at)}" if at else "not yet")
