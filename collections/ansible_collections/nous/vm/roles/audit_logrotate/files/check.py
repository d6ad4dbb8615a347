# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What audit_logrotate promises of a host; run by nous-vm-check."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

SEAL = "/usr/local/sbin/nous-vm-seal"


def check(params, host):
    """Yield a row for every promise of the role, for each rotation by its name."""
    seal = runpy.run_path(SEAL)
    for path in sorted(Path(params["configurations"]).glob("*.json")):
        config = json.loads(path.read_text(encoding="utf-8"))
        for name, status, detail in rows(path, config, seal, host):
            yield f"{name} ({config['name']})", status, detail
        for suffix in ("", "-recover", "-resume"):
            unit = f"audit-logrotate-{config['name']}{suffix}.service"
            yield f"sandbox of {unit}", *host.sandbox(unit, params["score"])


def rows(path, config, seal, host):
    """Yield the rows of one rotation."""
    for name in config["files"] + config["anchors"]:
        log = Path(config["directory"], name)
        if not log.exists():
            yield name, "fail", f"{log} does not exist"
            continue
        append_only = seal["inode_flags"](log) & seal["APPEND_ONLY"]
        yield f"{name} append-only", "ok" if append_only else "fail", f"{log} {'can' if append_only else 'could do more than'} grow"
        yield f"{name} owner and mode", *host.permissions(log, f"{config['mode']} {config['owner']}:{config['group']}")
        writers = seal["writers"](log)
        bad = [str(one) for one in writers if not one.appends]
        yield f"{name} writers append", "fail" if bad else "ok", ", ".join(bad) or f"{len(writers)} hold it open, with O_APPEND"

    yield held(config, seal, host)

    unit = f"audit-logrotate-{config['name']}"
    timer = host.show(f"{unit}.timer", "ActiveState", "NextElapseUSecRealtime", "LastTriggerUSec")
    state = timer.get("ActiveState")
    yield "rotation timer", "ok" if state == "active" else "fail", f"{state}, next {timer.get('NextElapseUSecRealtime') or 'never'}"

    last = host.show(f"{unit}.service", "ActiveState", "Result", "ExecMainExitTimestamp")
    when = last.get("ExecMainExitTimestamp") or timer.get("LastTriggerUSec") or "not yet"
    why = "" if last.get("Result") == "success" else f"; the reason is in journalctl --unit={unit}"
    yield "last rotation", "fail" if why else "ok", f"{last.get('Result')}, {when}{why}"

    if last.get("ActiveState") == "activating":
        yield "archives", "unknown", "a rotation is at work"
        return
    made = seal["Config"](path)
    archives = [archive for log in made.logs for archive in log.archives()]
    loose = [archive.name for archive in archives if not seal["inode_flags"](archive) & seal["IMMUTABLE"]]
    yield "archives", "fail" if loose else "ok", f"{len(archives)} immutable" if not loose else f"not immutable: {', '.join(loose)}"
    left = [str(place) for log in made.logs for place in (log.journal, log.segment) if place.exists()]
    left += [f"{one} is frozen" for one in seal["frozen"](seal["cgroups_of"](made.units))]
    yield "rotation complete", "fail" if left else "ok", f"left over: {', '.join(left)}" if left else "nothing is left over"


def held(config, seal, host):
    """Return the row that says whether the service writes to the log, and not past it.

    A service may open its log at its first record only, and no handler of its own tells whether it will: that is not red.
    """
    running = seal["cgroups_of"]([unit for unit in config["units"] if host.show(unit, "ActiveState").get("ActiveState") == "active"])
    if not running:
        return "service holds its log", "unknown", f"none of {', '.join(config['units']) or 'no units'} runs"
    cgroups = tuple(f"{cgroup}/" for cgroup in running.values())
    logs = [Path(config["directory"], name) for name in config["files"]]
    holders = {log: [one for one in seal["writers"](log) if f"{one.cgroup}/".startswith(cgroups)] for log in logs if log.exists()}
    bad = [f"{log} by {one}" for log, found in holders.items() for one in found if not one.appends]
    if bad:
        return "service holds its log", "fail", f"held open without O_APPEND: {', '.join(bad)}"
    idle = [str(log) for log in logs if not holders.get(log)]
    if idle:
        return "service holds its log", "unknown", f"{', '.join(running)} runs but does not hold {', '.join(idle)}: nothing written since its start"
    return "service holds its log", "ok", f"{', '.join(running)} with O_APPEND"
