# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the watch: the check, what changed, and who is told of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..exposure import reloaded
from ..foreign import printable
from ..health import Finding, parts, run_parts
from ..locks import held
from ..systemd import remember
from . import deliver, identity, message, metrics, space, state, trend, units
from .configuration import HEARTBEAT_URL, TIMER, Configuration
from .deliver import NotTold

CONFIRM = (5.0, 15.0)  # seconds after which a row that became red is looked at again: what is over then was a restart, or a deployment
LOCK = "host-watch"


def look(known: set[str], checks: Callable[[], list[Finding]], pauses: tuple[float, ...]) -> list[Finding]:
    """Return the rows; one that is red and was not is red each time that it is looked at."""
    found = checks()
    for pause in pauses:
        new = state.red(found).keys() - known
        if not new:
            break
        time.sleep(pause)
        again = checks()
        passed = {state.key(row) for row in again if row.status == "fail"} - known - new  # which the next run will look at
        found = [row._replace(status="warn") if state.key(row) in passed else row for row in again]
    return found


def checked(config: Configuration) -> list[Finding]:
    """Run the check, all of it on one moment of our units, for which systemd is asked once."""
    remember([*units.ours(config.units), units.JOURNAL, TIMER])
    reloaded.cache_clear()
    reloaded()
    return run_parts(parts())


def run(config: Configuration) -> list[Finding]:
    """Run the check, tell who is to be told, and return the rows."""
    with held(LOCK, "the watch", wait=120):
        known = state.load()
        identity.learn()
        begun = time.monotonic()
        found = look(set(known.red), lambda: checked(config), CONFIRM)
        known.seconds = round(time.monotonic() - begun, 2)
        red = state.red(found)
        if lately := units.lately_failed():  # it is over, and is told all the same
            red.setdefault(f"watch: {units.FAILED}", lately)
        known.advance(time.time(), red, deliver.ways(config))
        state.save(known)  # before anybody is told: what is told and not kept would be told again
        tell(config, known)
        if HEARTBEAT_URL in config.secrets and not state.red(found):
            beat(known)
        known.free = {each.place: trend.add(known.free.get(each.place, []), known.at, each.free) for each in space.file_systems()}
        state.save(known)
        metrics.publish(config, found, known.seconds)
    return found


def tell(config: Configuration, known: state.State) -> None:
    """Tell every way out what it was not told yet, if it is due."""
    for way, outbox in known.outboxes.items():
        if outbox.is_due(time.time()):
            try:
                deliver.deliver(config, way, message.document(known, outbox, time.time()))
            except (NotTold, OSError) as error:
                outbox.failed(time.time(), str(error))
            else:
                outbox.delivered()


def beat(known: state.State) -> None:
    """Tell the dead man's switch."""
    try:
        deliver.heartbeat()
    except (NotTold, OSError) as error:
        known.heartbeat = {"at": known.heartbeat.get("at", 0.0), "problem": printable(str(error))}
    else:
        known.heartbeat = {"at": time.time(), "problem": ""}
