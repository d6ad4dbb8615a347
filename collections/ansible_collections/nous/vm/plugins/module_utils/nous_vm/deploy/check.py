# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The health check of the server, its local proxy and its releases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import pause, times
from ..atomic import read_json
from ..errors import NousVmError
from ..exposure import kept
from ..foreign import printable, read_file
from ..health import SERVICE, Row, permissions, sandbox, unit_rows
from ..locks import holder
from ..names import Names
from ..programs import run
from ..systemd import journal, show
from . import audited, running, traffic
from .configuration import LOCK
from .proxy import Proxy
from .service import Service, service

HOST_NETWORK = Path("/proc/1/ns/net")


def check() -> Iterator[Row]:
    """Yield a row for everything that is looked at."""
    known = service()
    about = known.configuration.check
    yield from unit_rows(show(known.names.server, *SERVICE))
    yield health(known)
    yield audit_log(known)
    yield release(known)
    yield marks(known)
    yield deployment(known)
    timer = show(known.names.flush_timer, "ActiveState", "NextElapseUSecRealtime")
    yield Row("flush timer", "ok" if timer.get("ActiveState") == "active" else "fail", f"next {timer.get('NextElapseUSecRealtime') or 'never'}")
    if about["follow"]:
        yield from follow(known.names)
    if about["credentials"]:
        yield credentials(known.names.server, about["credentials"])
    for path, mode in about["private_files"].items():
        yield Row(f"mode of {Path(path).name}", *permissions(Path(path), mode))
    for unit, most in about["scores"].items():
        yield sandbox(unit, most)
    yield from proxy_rows(known, about)
    yield directives(about["units"])


def health(known: Service) -> Row:
    """Return the row on whether the server answers."""
    reason = known.server.unhealthy(known.server.state())
    return Row("health", "fail" if reason else "ok", reason or f"{known.server.address} answers")


def audit_log(known: Service) -> Row:
    """Return the row on whether calls are recorded: the server can append to its log, and when it did last."""
    path = known.configuration.audit
    if fault := audited.fault(int(known.server.state().get("MainPID") or 0), path):
        return Row("audit log", "fail", fault)
    written = times.second(path.stat().st_mtime)
    return Row("audit log", "ok", f"the server can append to it; last written {written}")


def release(known: Service) -> Row:
    """Return the row on the current release."""
    current, built = known.releases.current(), known.releases.built()
    return Row("release", "ok" if current in built else "fail", f"{current}, {len(built)} built")


def marks(known: Service) -> Row:
    """Return the row on the releases that are marked as failed: those that a run would not deploy are for a person to look at."""
    blocked, failed = known.releases.blocked(known.generations.settings()), known.releases.failed()
    detail = "; ".join(f"{release}: {reason}" for release, reason in blocked.items()) or f"none blocks a deployment, {len(failed)} in all"
    return Row("failed releases", "warn" if blocked else "ok", detail)


def deployment(known: Service) -> Row:
    """Return the row on a deployment that is under way, or was interrupted."""
    path, lock = known.configuration.journal, holder(LOCK)
    step = read_json(path).get("step", "unreadable") if path.exists() else None
    if step is None or lock:
        return Row("deployment", "ok", f"{lock}, at the step {step}" if step else "none was interrupted")
    state = show(known.names.recover, "ActiveState", "SubState")
    detail = f"interrupted at the step {step}; {known.names.recover} is {state.get('ActiveState')} ({state.get('SubState')})"
    return Row("deployment", "fail", f"{detail}, and its journal tells why")


def follow(known: Names) -> Iterator[Row]:
    """Yield the rows on the branch that is followed: what nous-vm deploy --newest printed when the timer ran it last."""
    timer = show(known.follow_timer, "ActiveState", "UnitFileState", "NextElapseUSecRealtime")
    healthy = timer.get("ActiveState") == "active" and timer.get("UnitFileState") == "enabled"
    yield Row("follow timer", "ok" if healthy else "fail", f"next {timer.get('NextElapseUSecRealtime') or 'never'}")
    last = show(known.follow, "ActiveState", "Result", "ExecMainStatus", "ExecMainExitTimestamp", "InvocationID")
    if last.get("ActiveState") == "activating":
        yield Row("newest commit", "unknown", "is being looked for")
        return
    if not last.get("ExecMainExitTimestamp"):
        yield Row("newest commit", "unknown", "not looked for yet since boot")
        return
    line = " ".join(journal(f"_SYSTEMD_INVOCATION_ID={last.get('InvocationID')}", lines=1))
    # A commit that failed is for a person to look at; that nobody can tell which is the newest is a fault.
    status = "ok" if last.get("Result") == "success" else "warn" if last.get("ExecMainStatus") == "1" else "fail"
    yield Row("newest commit", status, f"{line or 'nothing was printed'}, at {last['ExecMainExitTimestamp']}")


def credentials(unit: str, expected: list[str]) -> Row:
    """Return the row on the files that systemd hands to the server."""
    place = running.started_with(unit)
    lacking = [name for name in expected if not (place / name).exists()]
    detail = f"{', '.join(lacking)} did not reach the server" if lacking else ", ".join(expected)
    return Row("credentials", "fail" if lacking else "ok", detail)


def proxy_rows(known: Service, about: dict[str, Any]) -> Iterator[Row]:
    """Yield the rows on the way that requests take."""
    proxy = known.names.proxy
    for unit in (known.names.proxy_socket, proxy):
        state = show(unit, "ActiveState", "SubState", "UnitFileState")
        healthy = state.get("ActiveState") == "active" and state.get("UnitFileState") == "enabled"
        detail = f"{state.get('ActiveState')} ({state.get('SubState')}), {state.get('UnitFileState')} at boot"
        yield Row(unit, "ok" if healthy else "fail", detail)
    restarts = int(show(proxy, "NRestarts").get("NRestarts") or 0)
    yield Row("restarts of the proxy", "ok" if restarts == 0 else "warn", f"{restarts} by itself since it was started")
    yield traffic_row(known.proxy)
    yield Row("mode of the socket", *permissions(Path(about["socket"]), f"0660 root:{about['socket_group']}"))
    own = has_own_network(show(known.names.server, "MainPID").get("MainPID", "0"))
    yield Row("local access", "ok" if own else "fail", "none but the socket" if own else "the server is in the host's network")


def has_own_network(pid: str) -> bool:
    """Tell whether a process is in another network than the host's; one that does not run is not."""
    try:
        return Path(f"/proc/{pid}/ns/net").readlink() != HOST_NETWORK.readlink()
    except OSError:
        return False


def traffic_row(proxy: Proxy) -> Row:
    """Return the row on whether traffic flows, and who has which reason that it does not."""
    found = pause.reasons()
    try:
        state = proxy.traffic()
    except OSError as error:
        return Row("traffic", "fail", f"the local proxy does not answer: {error}")
    expected, detail = traffic.expected(found), "; ".join(map(str, found)) or "flows"
    if state != expected:
        return Row("traffic", "fail", f"{state}, and expected is {expected} ({detail}); nous-vm traffic has the proxy do what it should")
    if not found or holder(LOCK):
        return Row("traffic", "ok", detail)
    command = "resume" if any(each.owner == traffic.OPERATOR for each in found) else "recover"
    return Row("traffic", "fail", f"{detail}; nous-vm {command} resumes it")


def directives(units: list[str]) -> Row:
    """Return the row on the directives that this host's systemd does not know."""
    try:
        unknown = kept("directives", units, lambda: unknown_directives(units))
    except VerifyError as error:
        return Row("directives", "unknown", str(error))
    return Row("directives", "warn" if unknown else "ok", f"ignored by this systemd: {', '.join(unknown)}" if unknown else "all known to this systemd")


class VerifyError(NousVmError):
    """systemd-analyze verify failed for another reason than a directive that systemd does not know."""


def unknown_directives(units: list[str]) -> list[str]:
    """Return the directives of units that this host's systemd does not know. Raises VerifyError."""
    done = run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units], timeout=50, merge=True)
    found = re.findall(r"^(/\S+?):(\d+): (?:Unknown key|Unknown system call|Failed to parse)", done.text, re.MULTILINE)
    lines = {(path, int(number)): read_file(path).decode("utf-8", "replace").splitlines()[int(number) - 1] for path, number in found}
    if done.returncode and not lines:
        raise VerifyError(f"systemd-analyze verify ended with {done.returncode}")
    return sorted({printable(line.partition("=")[0]) for line in lines.values()})
