# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One client is let in: it is registered beside the one from before it, a window is opened, and whatever ends the window, it is completed.

The window is a transient unit. It ends at the client's first token, at its time, when it is stopped, or at a reboot; systemd then runs nous-vm clients close,
which keeps the client if it has a token, instead of the one that the server replaced, or removes it again.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable
from typing import NamedTuple

from .. import events
from ..errors import LockedError, NousVmError, UsageError
from ..names import COMMAND
from ..programs import run
from ..sandbox import directives
from ..systemd import WORK, is_active, ordered, show, transient
from . import configuration as paths
from . import outcome, record, state, window
from .configuration import Configuration
from .revocation import revoke
from .server import Server

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}")
START = 15.0  # seconds for the window to be there
POLL = 0.1
SECRET, PUBLIC = "client_secret_post", "none"  # what the SDK's server understands; client_secret_basic it does not as clients send it
SPARE = 30  # seconds beyond its time after which systemd ends a window that hangs


class Details(NamedTuple):
    """What a client is given, and the link for the browser. Client ID and secret are empty for one that registers itself."""

    name: str
    url: str
    client_id: str
    client_secret: str
    token_endpoint_auth_method: str
    link: str
    seconds: int


def begin(config: Configuration, name: str, seconds: int, extra_uris: Iterable[str] = (), dynamic: bool = False, method: str = SECRET) -> Details:
    """Register a client and open the window for it. method: how it shows at /token who it is. Raises NousVmError, OSError."""
    if not NAME.fullmatch(name):
        raise UsageError(f"NAME is {name!r}; allowed are up to 40 letters, digits, blanks, dots, underscores and hyphens, for example claude")
    complete(config)
    uris = [*config.redirect_uris, *extra_uris]
    about = window.Pending(name, "", state.read(config.directory).clients, *record.entry(name, record.ENROLLED)[3:])
    code, client_secret = secrets.token_hex(16), ""
    window.save_pending(about)
    try:
        if not dynamic:
            asked = {"client_name": name, "redirect_uris": uris, "token_endpoint_auth_method": method}
            found = Server(config).register(asked)
            about, client_secret = registered(config, about, found["client_id"]), str(found.get("client_secret") or "")
        window.save(window.Window(name, about.client_id, uris, window.digest(code), window.now() + seconds, dynamic))
        outcome.write(outcome.Outcome(name, outcome.OPEN, []))
        _start(config, seconds)
    except BaseException:
        complete(config)
        raise
    url = f"https://{config.hostname}"
    return Details(name, url, about.client_id, client_secret, "" if dynamic else method, f"{url}/authorize?enrolment={code}", seconds)


def free(config: Configuration) -> None:
    """Wait for an enrolment that just came to its end. Raises LockedError if one is open."""
    deadline = time.monotonic() + START
    while (active := show(paths.UNIT, "ActiveState").get("ActiveState")) in ("active", "activating", "deactivating"):
        about = window.pending()
        let_in = about and about.client_id and state.read(config.directory).tokens_of(about.client_id)
        if time.monotonic() > deadline or (active == "active" and not let_in):
            raise LockedError("an enrolment is open; wait for it, or close it: sudo nous-vm clients close")
        time.sleep(POLL)


def registered(config: Configuration, about: window.Pending, client_id: str) -> window.Pending:
    """Put the clients back that a registration replaced, and write down what is known then."""
    gone = set(about.previous) - set(state.read(config.directory).clients)
    about = about._replace(client_id=client_id, single=bool(gone))
    window.save_pending(about)
    if gone:
        state.change(config.directory, put=about.previous)
    return about


def _start(config: Configuration, seconds: int) -> None:
    """Open the window in a unit of its own, of which nothing is left when it ends, and wait until it is there."""
    local = config.upstream.startswith("unix/")
    sandbox = directives(
        {
            "CapabilityBoundingSet": "CAP_SETUID CAP_SETGID CAP_CHOWN CAP_DAC_OVERRIDE",
            "PrivateNetwork": local,
            "RestrictAddressFamilies": "AF_UNIX" if local else "AF_UNIX AF_INET AF_INET6",
            "ReadWritePaths": [str(paths.RECORD.parent), str(paths.WINDOW.parent), f"-{config.directory}"],
            "SystemCallFilter": "@system-service",
        }
    )
    life = [f"RuntimeDirectory={paths.SOCKETS.name}", "RuntimeDirectoryMode=0755", f"RuntimeMaxSec={seconds + SPARE}"]
    life += [f"ExecStopPost=+{COMMAND} clients close --ended", f"TimeoutStopSec={WORK:g}"]
    done = run(transient(paths.UNIT, [*life, *sandbox], [COMMAND, "clients", "window"], wait=False), timeout=WORK)
    if done.returncode:
        raise NousVmError(f"the enrolment cannot be opened: {done.complaint}")
    deadline = time.monotonic() + START
    while not paths.AUTHORIZE.is_socket():
        if time.monotonic() > deadline or not is_active(paths.UNIT):
            raise NousVmError(f"the enrolment was not opened; journalctl --unit={paths.UNIT} says why")
        time.sleep(POLL)


def stop() -> None:
    """End the enrolment that is open; systemd completes it, for which nobody else may hold the lock. Raises NousVmError."""
    if is_active(paths.UNIT):
        ordered("stop", paths.UNIT)


def complete(config: Configuration) -> None:
    """Complete an enrolment that has ended, whatever ended it: keep its client if that got a token, or remove it again. Raises NousVmError, OSError."""
    paths.WINDOW.unlink(missing_ok=True)
    about = window.pending()
    if about is None:
        return
    found = state.read(config.directory)
    if about.client_id and found.tokens_of(about.client_id):
        _keep(config, about, found)
    else:
        _take_away(config, about, found)
    paths.PENDING.unlink(missing_ok=True)


def _keep(config: Configuration, about: window.Pending, found: state.State) -> None:
    """Record a client that got a token; the server has one client at a time, or several, as it showed at the registration."""
    replaced = set(about.previous) if about.single else set()
    if about.single:
        replaced |= {each.client_id for each in found.tokens} - {about.client_id}
    count = revoke(config, replaced)
    entry = record.Entry(about.name, record.ENROLLED, time.time(), about.by, about.origin)
    record.keep(about.client_id, entry, instead_of=replaced)
    events.record("client enrolled", name=about.name, client=about.client_id, instead_of=", ".join(sorted(replaced)) or None, revoked=count or None)
    outcome.end(about.name, outcome.ENROLLED)


def _take_away(config: Configuration, about: window.Pending, found: state.State) -> None:
    """Take a client away that got no token, and put back those from before it."""
    if missing := {key: each for key, each in about.previous.items() if key not in found.clients}:
        state.change(config.directory, put=missing)
    new = {about.client_id} if about.client_id else set()
    if not about.client_id and config.authorize == paths.ENROLMENT:  # of one that registered itself just before it ended
        new = set(found.clients) - set(about.previous)
    revoke(config, new)
    events.record("enrolment closed", name=about.name, why="the client got no token")
    outcome.end(about.name, outcome.CLOSED)
