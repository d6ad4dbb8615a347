# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the health check on the way out."""

from __future__ import annotations

from collections.abc import Iterator

from ..foreign import read_file
from ..health import Row, sandbox
from ..network import LISTEN
from ..systemd import show
from .configuration import Configuration, load
from .policy import excepted
from .resolvers import resolvers

SOCKET, SERVICE = "nous-egress.socket", "nous-egress.service"


def check() -> Iterator[Row]:
    """Yield a row for everything that is looked at."""
    about = load()
    state = show(SOCKET, "ActiveState", "SubState", "UnitFileState")
    healthy = state.get("ActiveState") == "active" and state.get("UnitFileState") == "enabled"
    yield Row("socket", "ok" if healthy else "fail", f"{state.get('ActiveState')} ({state.get('SubState')}), {state.get('UnitFileState')} at boot")
    yield listening(about)
    yield proxy()
    yield names(about)
    yield Row("allowed", "ok", ", ".join(f"{each.name}:{each.port}{f' in {each.network}' if each.network else ''}" for each in about.allow))
    for unit, most in about.scores.items():
        yield sandbox(unit, most)


def listening(about: Configuration) -> Row:
    """Return the row on whether the proxy listens in the network of the unit that it is for."""
    unit, name = about.units[0], "way out"
    pid = show(unit, "MainPID").get("MainPID", "0")
    if pid == "0":
        return Row(name, "unknown", f"{unit} does not run")
    try:
        lines = read_file(f"/proc/{pid}/net/tcp").decode("ascii", "replace").splitlines()[1:]
    except OSError:
        return Row(name, "unknown", f"{unit} just ended")
    host, _colon, port = about.bind.rpartition(":")
    local = "".join(f"{int(each):02X}" for each in reversed(host.split("."))) + f":{int(port):04X}"
    found = any(words[1] == local and words[3] == LISTEN for words in (line.split() for line in lines))
    return Row(
        name, "ok" if found else "fail", f"{about.bind} in the network of {unit}" if found else f"nothing listens on {about.bind} in the network of {unit}"
    )


def proxy() -> Row:
    """Return the row on the proxy itself, which is started by the first connection."""
    state = show(SERVICE, "ActiveState", "SubState", "Result", "NRestarts")
    active, restarts = state.get("ActiveState"), int(state.get("NRestarts") or 0)
    status = "fail" if active == "failed" or state.get("Result") != "success" else "warn" if restarts else "ok"
    return Row("proxy", status, "not used since boot" if active == "inactive" else f"{active} ({state.get('SubState')}), {restarts} restarts by itself")


def names(about: Configuration) -> Row:
    """Return the row on whether names can be looked up: an address of a name server that changed is not let through."""
    found = resolvers()
    lacking = [each for each in excepted(found) if each not in about.resolvers]
    if lacking:
        return Row("name servers", "fail", f"{', '.join(lacking)} cannot be reached: run the playbook site, or set egress_proxy_resolvers")
    return Row("name servers", "ok" if found else "warn", ", ".join(found) or "there is none in /etc/resolv.conf")
