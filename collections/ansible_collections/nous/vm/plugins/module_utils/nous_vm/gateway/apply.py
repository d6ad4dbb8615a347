# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A change of the gateway: Caddy takes what is on disk, it is verified, or what was verified last is put back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from .. import atomic, events
from ..errors import ForeignError
from ..foreign import parse_json, printable
from ..programs import run
from ..systemd import WORK, show
from . import admin, configuration, confirmation
from .probe import not_ready
from .reload import reload

PATIENCE = 60.0  # seconds that the gateway gets to answer; the first certificate of an authority is made in that time
POLL = 0.5  # seconds between two probes
WAIT = 150.0  # seconds for the gateway's lock: another that applies, and rolls back
JOURNAL = 30.0  # seconds that journalctl gets
SYSTEMD_SYSCTL = Path("/usr/lib/systemd/systemd-sysctl")


class Outcome(NamedTuple):
    """What came of a change. fault: what is wrong, empty if nothing. rolled_back: whether the configuration from before was put back."""

    fault: str
    rolled_back: bool = False


def complaints(since: float) -> str:
    """Return the last errors that Caddy wrote to the journal, in one sentence. since: seconds since the epoch."""
    found = []
    argv = ["journalctl", "--quiet", "--no-pager", "--output=cat", f"--unit={configuration.UNIT}", f"--since=@{since:.0f}"]
    for line in run(argv, timeout=JOURNAL).text.splitlines():
        if line.startswith("Error: "):  # a reload that was rejected
            found.append(printable(line.removeprefix("Error: ")))
        elif line.startswith("{"):
            found += _error(line)
    return f"Caddy's journal: {' | '.join(found[-3:]) or 'no error'}."


def _error(line: str) -> list[str]:
    """Return the error that a line of Caddy's journal is, if it is one."""
    try:
        entry = parse_json(line, "the journal")
    except ForeignError:
        return []
    if entry.get("level") not in ("error", "fatal"):
        return []
    return [printable(f"{entry.get('msg')}: {entry.get('error', '')}").removesuffix(":")]


def verify() -> str:
    """Wait until the gateway is ready; return what is wrong if it does not become so."""
    parameters, desired, start = configuration.parameters(), admin.desired(), time.time()
    while reason := not_ready(parameters, desired):
        if time.time() > start + PATIENCE:
            return f"After {PATIENCE:g} s {reason}. {complaints(start - 1)}"
        time.sleep(POLL)
    return ""


def reloadable(other: dict[str, str]) -> bool:
    """Tell whether a reload is enough, where Caddy may run with the other configuration: it takes a new Caddyfile and nothing else.

    A Caddy that does not answer at the socket of this configuration hangs, or serves another Caddyfile, for example the package's after an upgrade.
    """
    # One that Caddy rejected leaves its unit reloading, and Caddy 2.6 soon without a certificate.
    unit = show(configuration.UNIT, "ActiveState", "NeedDaemonReload")
    drop_in = str(configuration.DROP_IN)
    same = unit == {"ActiveState": "active", "NeedDaemonReload": "no"} and other.get(drop_in) == configuration.on_disk().get(drop_in)
    return same and admin.answers(admin.socket_of(admin.desired()))


def take(other: dict[str, str]) -> str:
    """Let Caddy take what is on disk, where it may run with the other configuration; return what it has against it."""
    plain = reloadable(other)
    run([SYSTEMD_SYSCTL, configuration.SYSCTL], timeout=WORK)  # a container may not set it, and works all the same
    start, reason = time.time(), ""
    restart = [["systemctl", "daemon-reload"], ["systemctl", "restart", configuration.UNIT]]
    for argv in [["systemctl", "enable", "--quiet", configuration.UNIT], *([] if plain else restart)]:
        done = run(argv, timeout=WORK)
        reason = reason or (f"{' '.join(argv[:2])} failed: {done.complaint}" if done.returncode else "")
    if plain:  # not by systemctl, which would wait for a unit that goes on reloading
        reason = reload().fault
    return f"{reason} {complaints(start - 1)}" if reason else ""


def serve(other: dict[str, str]) -> str:
    """Let Caddy take what is on disk, where it may run with the other configuration; return what is wrong with the gateway then."""
    return take(other) or verify()


def apply(confirm: float = 0) -> Outcome:
    """Take what is on disk into service, or what was verified last. confirm: seconds in which somebody outside has to confirm it, if anybody has."""
    before, now = configuration.known_good(), configuration.on_disk()
    reason = serve(before)
    if not reason and confirm and before:
        reason = confirmation.awaited(confirm)
    if not reason:
        configuration.keep_known_good(now)
        events.record("gateway applied")
        return Outcome("")
    outcome = _roll_back(reason, before, now)
    events.record("gateway rolled back" if outcome.rolled_back else "gateway applied", "failed" if not outcome.rolled_back else "done", why=outcome.fault)
    return outcome


def put_back(before: dict[str, str], now: dict[str, str]) -> None:
    """Write what of a configuration is another than now."""
    for path, content in before.items() - now.items():
        atomic.write(Path(path), content.encode(), 0o644)


def _roll_back(reason: str, before: dict[str, str], now: dict[str, str]) -> Outcome:
    """Put the configuration from before back, if there is one that is another than now."""
    own = configuration.config()
    if not before and own != configuration.CADDYFILE:  # the other sites have to go on, over a restart too
        own.unlink()
        return Outcome(f"{reason} {own} was removed again. {take(now)}".strip(), rolled_back=True)
    if before in ({}, now):
        return Outcome(reason)
    put_back(before, now)
    if again := serve(now):
        return Outcome(f"{reason} The configuration from before was put back, but with it the gateway is not ready either: {again}")
    return Outcome(f"{reason} Rolled back: the configuration from before serves.", rolled_back=True)
