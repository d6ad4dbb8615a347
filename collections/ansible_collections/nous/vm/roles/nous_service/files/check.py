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

    timer = host.show(params["timer"], "ActiveState", "NextElapseUSecRealtime")
    yield "flush timer", "ok" if timer.get("ActiveState") == "active" else "fail", f"next {timer.get('NextElapseUSecRealtime') or 'never'}"

    if params["credentials"]:
        pid = host.show(unit, "MainPID").get("MainPID", "0")
        place = Path(f"/proc/{pid}/root/run/credentials/{unit}")
        lacking = [name for name in params["credentials"] if not (place / name).exists()]
        detail = f"{', '.join(lacking)} did not reach the server" if lacking else ", ".join(params["credentials"])
        yield "credentials", "fail" if lacking else "ok", detail

    for path, mode in params["private_files"].items():
        found = Path(path)
        seen = f"{found.stat().st_mode & 0o7777:04o} {found.owner()}:{found.group()}" if found.exists() else "absent"
        yield f"mode of {found.name}", "ok" if seen in (mode, "absent") else "fail", seen

    for name, most in params["scores"].items():
        _rc, out = host.run(["systemd-analyze", "security", "--no-pager", name])
        score = re.search(r"exposure level for \S+: ([\d.]+)", out)
        known = float(score.group(1)) if score else None
        status = "unknown" if known is None else "ok" if known <= most else "fail"
        yield f"sandbox of {name}", status, f"{known} by systemd-analyze security, at most {most}"

    yield "local way in", "warn", f"{params['address']} can be reached by every local user of this host, past the gate"
