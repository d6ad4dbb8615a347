# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What caddy_gateway promises of a host; run by nous-vm-check."""

from __future__ import annotations

import runpy
import socket
import ssl
import stat
import time
from pathlib import Path

GATE = "/usr/local/sbin/nous-vm-gate"
DAY = 86400


def check(params, host):
    """Yield a row for every promise of the role."""
    gate = runpy.run_path(GATE)
    unit = host.show(gate["UNIT"], "ActiveState", "SubState", "ActiveEnterTimestamp", "UnitFileState", "NRestarts", "MainPID")
    detail = f"{unit.get('ActiveState')} ({unit.get('SubState')}) since {unit.get('ActiveEnterTimestamp') or 'never'}"
    yield "service", "ok" if unit.get("ActiveState") == "active" else "fail", detail
    yield "starts at boot", "ok" if unit.get("UnitFileState") == "enabled" else "fail", unit.get("UnitFileState", "")
    restarts = int(unit.get("NRestarts") or 0)
    yield "crashes", "ok" if restarts == 0 else "warn" if restarts < 3 else "fail", f"{restarts} since it was started"

    yield configuration(gate)
    yield closed(params, gate)
    yield public(params, gate)
    yield admin(unit.get("MainPID", ""), gate)
    yield certificate(params["hostname"])

    if params["score"] is None:
        yield "sandbox", "warn", f"{host.score(gate['UNIT'])} by systemd-analyze security; Caddy serves other sites too, and its unit is their owner's"
    else:
        yield "sandbox", *host.sandbox(gate["UNIT"], params["score"])

    refused = gate["by_address"](time.time() - 3600)
    most = ", ".join(f"{address} ({times})" for address, (times, _last) in list(refused.items())[:3])
    yield "refused in the last hour", "ok", f"{sum(times for times, _last in refused.values())} requests; most by {most}" if refused else "nobody"


def configuration(gate):
    """Return the row that says whether what Caddy serves is what the role laid down."""
    name, whose = "configuration", gate["owner"](gate["config"]())
    if whose != "ours":
        return name, "fail", f"{gate['config']()} is {whose}, not the role's"
    try:
        same = gate["running"]() == gate["wanted"]()
    except (OSError, ValueError) as error:
        return name, "fail", f"Caddy cannot be asked what it serves: {error}"
    return name, "ok" if same else "fail", f"Caddy {'serves' if same else 'does not serve'} what {gate['CADDYFILE']} says"


def closed(params, gate):
    """Return the row that says whether this host itself, which is not listed, is refused."""
    name = "gate closed"
    try:
        answer = gate["ask"]("127.0.0.1", params["hostname"], "/")
    except OSError as error:
        return name, "fail", f"the gate does not answer: {error}"
    if gate["listed"](answer.source, params["cidrs"]):
        return name, "unknown", f"{answer.source}, this host's own address, is listed"
    return name, "ok" if answer.refused == "address" else "fail", f"{answer.status} for {answer.source}, which is not listed"


def public(params, gate):
    """Return the row that says whether the public paths lead to the server."""
    name, said, good = "public paths", [], True
    for path in params["public_paths"]:
        try:
            answer = gate["ask"]("127.0.0.1", params["hostname"], path)
        except OSError as error:
            return name, "fail", f"the gate does not answer: {error}"
        said.append(f"{path} {answer.status}")
        good = good and not answer.refused and answer.status < 500
    return name, "ok" if good else "fail", ", ".join(said) or "none"


def admin(pid, gate):
    """Return the row that says whether Caddy can be told anything by others than its own user."""
    name, path = "admin API", Path(gate["admin"]().removeprefix("unix/").partition("|")[0])
    ports = gate["ports_of"](Path("/proc", pid), gate["listeners"]())
    alone = gate["config"]() == gate["CADDYFILE"]
    if ports != set(gate["PORTS"]) and (alone or not ports >= set(gate["PORTS"])):
        return name, "fail", f"Caddy listens on the TCP ports {', '.join(map(str, sorted(ports))) or 'none'}"
    folder = path.parent.stat()
    if not path.is_socket() or stat.S_IMODE(folder.st_mode) & 0o077 or path.parent.owner() != gate["USER"]:
        return name, "fail", f"{path} is not closed: {stat.filemode(folder.st_mode)} {path.parent.owner()}"
    return name, "ok", f"{path}, for Caddy's own user alone"


def presented(hostname, context, binary):
    """Return the certificate that the gate presents, in DER or as a dictionary."""
    with socket.create_connection(("127.0.0.1", 443), timeout=5) as plain, context.wrap_socket(plain, server_hostname=hostname) as tls:
        return tls.getpeercert(binary_form=binary)


def certificate(hostname):
    """Return the row that says how long the certificate is good for; whether clients trust it is theirs to say."""
    name = "certificate"
    try:
        unproven = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unproven.check_hostname, unproven.verify_mode = False, ssl.CERT_NONE
        der = presented(hostname, unproven, binary=True)
        # Taken as its own authority, so that OpenSSL itself reads it and judges its name and dates.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=der)
        found = presented(hostname, context, binary=False)
    except OSError as error:
        return name, "fail", str(error)
    begin, end = (ssl.cert_time_to_seconds(found[key]) for key in ("notBefore", "notAfter"))
    left = end - time.time()
    # Caddy renews after two thirds of its life; a fifth left is late for those that live for less than 70 days.
    late = left < min(14 * DAY, (end - begin) / 5)
    return name, "warn" if late else "ok", f"good for {left / DAY:.1f} days, until {found['notAfter']}"
