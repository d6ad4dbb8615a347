# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway's rows of the health check."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import health
from ..errors import ForeignError
from ..exposure import score
from ..foreign import printable
from ..health import Row
from ..network import listed, listeners, ports_of
from ..systemd import show
from . import admin, configuration, counted, fetched, limits, lists, probe

DAY = 86400
LATE = 14 * DAY  # before its end a certificate should have been renewed
HOUR = 3600


def check() -> Iterator[Row]:
    """Yield a row for everything that the gateway's expected state is made of."""
    parameters, desired = configuration.parameters(), admin.desired()
    unit = show(configuration.UNIT, *health.SERVICE, "MainPID")
    yield from health.unit_rows(unit)
    yield serves(parameters, desired)
    yield allow_list(parameters)
    yield Row("allowed for a time", *lists.for_a_time())
    yield Row("vendor's list", *lists.vendor())
    if parameters.list_url:
        yield Row("fetched list", *fetched.row(parameters.list_url))
    yield public_paths(parameters)
    yield admin_api(parameters, desired, unit.get("MainPID") or "0")
    yield limits.check(parameters.limits)
    yield certificate(parameters)
    yield sandbox(parameters)
    yield denied()


def serves(parameters: configuration.Parameters, desired: dict[str, Any]) -> Row:
    """Return the row on what Caddy serves: it is what the role wrote."""
    name, whose = "configuration", configuration.owner(parameters.config)
    if whose != "ours":
        return Row(name, "fail", f"{parameters.config} is {whose}, not the role's")
    try:
        same = admin.served(admin.socket_of(desired)) == desired
    except (OSError, ForeignError) as error:
        return Row(name, "fail", f"Caddy does not answer what it serves: {error}")
    return Row(name, "ok" if same else "fail", f"Caddy {'serves' if same else 'does not serve'} what {configuration.CADDYFILE} says")


def allow_list(parameters: configuration.Parameters) -> Row:
    """Return the row on the allow list: this host itself, which is not on it, is denied."""
    name = "allow list"
    try:
        answer = probe.ask(probe.LOCAL, parameters.hostname, "/")
    except (OSError, ForeignError) as error:
        return Row(name, "fail", f"the gateway does not answer: {error}")
    if listed(answer.source, parameters.cidrs):
        return Row(name, "unknown", f"{answer.source}, this host's own address, is on the allow list")
    return Row(name, "ok" if answer.denied == "address" else "fail", f"{answer.status} for {answer.source}, which is not on the allow list")


def public_paths(parameters: configuration.Parameters) -> Row:
    """Return the row on the public paths: they lead to the server."""
    name, seen, good = "public paths", [], True
    for path in parameters.public_paths:
        try:
            answer = probe.ask(probe.LOCAL, parameters.hostname, path)
        except (OSError, ForeignError) as error:
            return Row(name, "fail", f"the gateway does not answer: {error}")
        seen.append(f"{path} {answer.status}")
        good = good and not answer.denied and answer.status < 500
    return Row(name, "ok" if good else "fail", ", ".join(seen) or "none")


def admin_api(parameters: configuration.Parameters, desired: dict[str, Any], pid: str) -> Row:
    """Return the row on the admin API: nobody but Caddy's own user and root can reconfigure it."""
    name, path, expected = "admin API", admin.socket_of(desired), set(configuration.PORTS)
    ports = ports_of(Path("/proc", pid), listeners())
    alone = parameters.config == configuration.CADDYFILE
    if ports != expected and (alone or not ports >= expected):
        return Row(name, "fail", f"Caddy listens on the TCP ports {', '.join(map(str, sorted(ports))) or 'none'}")
    try:
        folder, owner = path.parent.stat(), path.parent.owner()
    except OSError as error:
        return Row(name, "fail", str(error))
    if not path.is_socket() or stat.S_IMODE(folder.st_mode) & 0o077 or owner != configuration.USER:
        return Row(name, "fail", f"{path} is open to others: {stat.filemode(folder.st_mode)} {owner}")
    return Row(name, "ok", f"{path}, for Caddy's own user alone")


def certificate(parameters: configuration.Parameters) -> Row:
    """Return the row on how long the certificate is good for."""
    name = "certificate"
    try:
        found = probe.certificate(parameters.hostname)
    except OSError as error:
        return Row(name, "fail", str(error))
    left = found.end - time.time()
    # Caddy renews after two thirds of its life; a fifth left is late for those that live for less than 70 days.
    late = left < min(LATE, (found.end - found.begin) / 5)
    return Row(name, "warn" if late else "ok", f"good for {left / DAY:.1f} days, until {found.until}")


def sandbox(parameters: configuration.Parameters) -> Row:
    """Return the row on the unit's sandbox."""
    if parameters.score is not None:
        return health.sandbox(configuration.UNIT, parameters.score)
    found = score(configuration.UNIT)
    detail = f"{found} by systemd-analyze security; Caddy serves other sites too, and its unit is their owner's"
    return Row(f"sandbox of {configuration.UNIT}", "warn", detail)


def denied() -> Row:
    """Return the row on who was denied in the last hour."""
    name, found = "denied in the last hour", counted.denied_since(time.time() - HOUR)
    most = ", ".join(f"{address} ({times})" for address, (times, _last) in list(found.addresses.items())[:3])
    total = sum(times for times, _last in found.addresses.values())
    detail = f"{total} requests; most by {most}" if total else "nobody"
    if found.unreadable:
        return Row(name, "warn", f"{detail}; not all of the log can be read: {found.unreadable[0]}")
    return Row(name, "ok", printable(detail))
