# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a host that runs nous by nous's own bundle: it is to be adopted, and what the inventory says of its data has to be true."""

from __future__ import annotations

import typing as t
from collections.abc import Iterator

from .rules import Fault, shown

if t.TYPE_CHECKING:
    from .role import Host, Values

ADOPT = "ansible-playbook nous.vm.adopt"
ALLOWED = "a host that the playbook nous.vm.adopt took over"


def left(host: Host) -> dict[str, str]:
    """Return what of the bundle is on the host, by path, with what it is."""
    return t.cast("dict[str, str]", host.get("bundle", {}).get("left", {}))


def faults(values: Values, host: Host) -> Iterator[Fault]:
    """Yield what of the bundle is in the way, or in an adoption what would be lost."""
    about = host.get("bundle", {})
    if host.get("adopt"):
        yield from lost(values, about)
        return
    for path, what in left(host).items():
        yield Fault(path, f"is {what}", ALLOWED, ADOPT)
    if about.get("begun") and not left(host):
        yield Fault("The host", f"is adopted in part, what was there is in {about['begun']}", "one that is adopted as a whole", ADOPT)


def lost(values: Values, about: dict[str, t.Any]) -> Iterator[Fault]:
    """Yield what the inventory has elsewhere than the host has it."""
    settings, home = about.get("settings", {}), values["nous_service_home"]
    kept = settings.get("NOUS_HOME", home)
    if kept != home:
        yield Fault("nous_service_home", f"is {home}, and this host's server keeps its data in {shown(kept)}", "the same folder", kept)
    state = settings.get("NOUS_OAUTH_STATE_DIR", f"{kept}/auth")
    own = values["nous_service_settings"].get("NOUS_OAUTH_STATE_DIR", f"{home}/auth")
    if own != state and kept == home:
        given = f"has OAuth's files in {own}, and this host's server in {shown(state)}"
        yield Fault("nous_service_settings", given, "the same folder", f"{{NOUS_OAUTH_STATE_DIR: {state}}}")
    if "NOUS_DB_URL" in about.get("secrets", []) and "NOUS_DB_URL" not in values["nous_service_secrets"]:
        given = "has no NOUS_DB_URL, and this host's server is told by it where its database is (/etc/nous/nous.env)"
        yield Fault("nous_service_secrets", given, "the same", "{NOUS_DB_URL: sqlite:////var/lib/nous/state.db}")
    for path in about.get("foreign", []):
        user = values["nous_service_user"]
        given = f"names {path} as the server's own, which is no file of its account, or a link"
        yield Fault("/etc/nous/nous.env", given, f"files of {user} alone, because the server could have written it", f"sudo chown {user}: {path}")
    if about.get("conflict"):
        log = values["nous_service_audit_path"]
        given = f"is {log}, and there are two logs: the server of this host writes to {shown(about['conflict'])}"
        yield Fault("nous_service_audit_path", given, "a path where none is", f"sudo mv {log} {log}.old")
