# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nous_service promises of a host; run by nous-vm-check."""

from __future__ import annotations

import json
import re
from pathlib import Path


def check(params, host):
    """Yield a row for every promise of the role."""
    unit = params["unit"]
    state = host.show(unit, "ActiveState", "SubState", "ActiveEnterTimestamp", "NRestarts", "UnitFileState")
    detail = f"{state.get('ActiveState')} ({state.get('SubState')}) since {state.get('ActiveEnterTimestamp') or 'never'}"
    yield "service", "ok" if state.get("ActiveState") == "active" else "fail", detail
    yield "starts at boot", "ok" if state.get("UnitFileState") == "enabled" else "fail", state.get("UnitFileState", "")
    restarts = int(state.get("NRestarts") or 0)
    yield "crashes", "ok" if restarts == 0 else "warn" if restarts < 3 else "fail", f"{restarts} since it was started"

    _rc, out = host.run(["/usr/local/sbin/nous-vm-activate", "status"])
    status = json.loads(out or '{"reason": "nous-vm-activate did not run", "current": null, "built": []}')
    yield "readiness", "fail" if status["reason"] else "ok", status["reason"] or f"{params['address']} answers"
    yield "release", "ok" if status["current"] in status["built"] else "fail", f"{status['current']}, {len(status['built'])} built"

    held = status.get("held") and not status["at_work"]
    yield "door open", "fail" if held else "ok", "held, and nobody is at work: nous-vm-activate open" if held else "lets requests in"

    step = status.get("unfinished")
    if step is None or status["at_work"]:
        yield "activation", "ok", f"{status['at_work']}, at the step {step}" if step else "none was cut short"
    else:
        recovery = host.show(params["recovery"], "ActiveState", "SubState")
        detail = f"cut short at the step {step}; {params['recovery']} is {recovery.get('ActiveState')} ({recovery.get('SubState')}), and its journal says why"
        yield "activation", "fail", detail

    timer = host.show(params["timer"], "ActiveState", "NextElapseUSecRealtime")
    yield "flush timer", "ok" if timer.get("ActiveState") == "active" else "fail", f"next {timer.get('NextElapseUSecRealtime') or 'never'}"

    if params["follow"]:
        yield from follow(host)

    if params["credentials"]:
        pid = host.show(unit, "MainPID").get("MainPID", "0")
        place = Path(f"/proc/{pid}/root/run/credentials/{unit}")
        lacking = [name for name in params["credentials"] if not (place / name).exists()]
        detail = f"{', '.join(lacking)} did not reach the server" if lacking else ", ".join(params["credentials"])
        yield "credentials", "fail" if lacking else "ok", detail

    for path, mode in params["private_files"].items():
        yield f"mode of {Path(path).name}", *host.permissions(Path(path), mode)

    for name, most in params["scores"].items():
        yield f"sandbox of {name}", *host.sandbox(name, most)

    yield from door(params, host)
    yield ignored(params["units"], host)


def follow(host):
    """Yield the rows on the branch that is followed: what nous-vm-follow said when it looked last."""
    timer = host.show("nous-follow.timer", "ActiveState", "UnitFileState", "NextElapseUSecRealtime")
    well = timer.get("ActiveState") == "active" and timer.get("UnitFileState") == "enabled"
    yield "follow timer", "ok" if well else "fail", f"next {timer.get('NextElapseUSecRealtime') or 'never'}"
    last = host.show("nous-follow.service", "ActiveState", "Result", "ExecMainStatus", "ExecMainExitTimestamp", "InvocationID")
    if last.get("ActiveState") == "activating":
        yield "newest commit", "unknown", "is being looked for"
        return
    if not last.get("ExecMainExitTimestamp"):
        yield "newest commit", "unknown", "not looked for yet since boot"
        return
    _rc, said = host.run(["journalctl", "--quiet", "--output=cat", "--lines=1", f"_SYSTEMD_INVOCATION_ID={last.get('InvocationID')}"])
    # A commit that does not serve is for somebody to look at; that nobody can tell which is the newest breaks the promise.
    status = "ok" if last.get("Result") == "success" else "warn" if last.get("ExecMainStatus") == "1" else "fail"
    yield "newest commit", status, f"{said.strip() or 'see journalctl --unit=nous-follow'}, at {last['ExecMainExitTimestamp']}"


def door(params, host):
    """Yield the rows on the way that requests take."""
    for unit in ("nous-door.socket", "nous-door.service"):
        state = host.show(unit, "ActiveState", "SubState", "UnitFileState")
        well = state.get("ActiveState") == "active" and state.get("UnitFileState") == "enabled"
        yield unit, "ok" if well else "fail", f"{state.get('ActiveState')} ({state.get('SubState')}), {state.get('UnitFileState')} at boot"
    yield "mode of the socket", *host.permissions(Path(params["socket"]), f"0660 root:{params['socket_group']}")
    if params["private_network"]:
        pid = host.show(params["unit"], "MainPID").get("MainPID", "0")
        own = pid != "0" and Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/1/ns/net").readlink()
        yield "local way in", "ok" if own else "fail", "none but the socket" if own else "the server is in the host's network"
    else:
        yield "local way in", "warn", f"{params['address']} can be reached by every local user of this host, past the gate"


def ignored(units, host):
    """Return the row on the directives that this host's systemd does not know."""
    rc, out = host.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units], timeout=60, errors=True)
    found = re.findall(r"^(/\S+?):(\d+): (?:Unknown key|Unknown system call|Failed to parse)", out, re.MULTILINE)
    names = sorted({Path(path).read_text(encoding="utf-8").splitlines()[int(line) - 1].partition("=")[0] for path, line in found})
    if names:
        return "directives", "warn", f"ignored by this systemd: {', '.join(names)}"
    return "directives", "unknown" if rc else "ok", f"systemd-analyze verify ended with {rc}" if rc else "all known to this systemd"
