# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A reload of Caddy with no request lost.

A reload starts a new server beside the old one and stops that. A server of Go 1.25 or later that stops closes what it has accepted and not yet had a request
from (golang/go#75591); an older one resets what it has not accepted. So for a moment new connections wait in the kernel, in sockets of ours beside Caddy's
(SO_REUSEPORT with a filter of one instruction), and go over to the sockets that Caddy makes meanwhile (net.ipv4.tcp_migrate_req).
"""

from __future__ import annotations

import array
import contextlib
import os
import pwd
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..foreign import read_file
from ..network import Listener, listeners, tables
from ..programs import run
from . import admin, configuration

MIGRATES = Path("/proc/sys/net/ipv4/tcp_migrate_req")
SO_ATTACH_REUSEPORT_CBPF = 51  # asm-generic/socket.h
BPF_RETURN = 0x06  # BPF_RET | BPF_K of linux/filter.h
BACKLOG = 4096
SETTLE = 1.0  # seconds that a connection gets to shake hands and send its first request before a reload; new ones wait for that long
DRAIN = 5.0  # seconds to wait for what came before
RELOAD = 60.0  # seconds that Caddy gets to take a configuration
POLL = 0.01


class Held(NamedTuple):
    """What a reload begins with. sockets: the names of Caddy's listening sockets. note: why new connections are not held back, if they are not."""

    sockets: set[str]
    note: str = ""


class Reloaded(NamedTuple):
    """What came of a reload. fault: what Caddy has against the configuration, empty if nothing. note: what a person may want to know."""

    fault: str
    note: str


def beside(where: Listener, others: int) -> socket.socket:
    """Return a socket that listens where so many others of Caddy's do, and gets all new connections instead of them."""
    family = socket.AF_INET6 if len(where.address) > 4 else socket.AF_INET
    made = _as_caddy(family)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind((socket.inet_ntop(family, where.address), where.port))
        made.listen(BACKLOG)
        # A program of one instruction: return the number of this socket, the last that joined.
        program = array.array("Q", struct.pack("HBBI", BPF_RETURN, 0, 0, others))
        made.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, struct.pack("HP", 1, program.buffer_info()[0]))
    except BaseException:
        made.close()
        raise
    return made


def _as_caddy(family: int) -> socket.socket:
    """Return a new socket of Caddy's user: the kernel lets sockets of one user share an address."""
    os.seteuid(pwd.getpwnam(configuration.USER).pw_uid)
    try:
        return socket.socket(family)
    finally:
        os.seteuid(0)


def behind(ours: set[str]) -> bool:
    """Tell whether anything that came for Caddy is not accepted or not read yet, besides what waits for sockets of ours, and has no number yet."""
    ports = {f"{port:04X}" for port in configuration.PORTS}
    waiting = (line[9] for line in tables() if line[1].rpartition(":")[2] in ports and line[4].rpartition(":")[2] != "00000000")
    return bool(set(waiting) - ours - {"0"})


@contextlib.contextmanager
def connections_held() -> Iterator[Held]:
    """Keep new connections waiting in the kernel meanwhile, and give them to the sockets that Caddy made in that time."""
    old = {name: each for name, each in listeners(configuration.USER).items() if each.port in configuration.PORTS}
    note = ""
    with contextlib.ExitStack() as ours:
        try:
            if read_file(MIGRATES).strip() == b"0":
                raise OSError(f"{MIGRATES} is 0")  # as in a container that may not set it
            mine = {str(os.fstat(ours.enter_context(beside(*each)).fileno()).st_ino) for each in Counter(old.values()).items()}
            end = time.monotonic() + DRAIN
            time.sleep(SETTLE)
            while behind(mine) and time.monotonic() < end:
                time.sleep(POLL)
        except OSError as error:
            ours.close()
            note = f"A plain reload, because new connections cannot be held back: {error}."
        yield Held(set(old), note)


def reload() -> Reloaded:
    """Let Caddy take the configuration on disk, with no request lost."""
    user = configuration.USER  # it may do it, so that nothing of root's reads what Caddy answers
    argv = [str(configuration.CADDY), "reload", "--config", str(configuration.CADDYFILE), "--address", admin.address(admin.desired()), "--force"]
    with connections_held() as held:
        done = run(argv, timeout=RELOAD, user=user, group=user, extra_groups=[])
        end = time.monotonic() + DRAIN  # the old server stops when Caddy has answered already
        while done.returncode == 0 and held.sockets & listeners(user).keys() and time.monotonic() < end:
            time.sleep(POLL)
    return Reloaded(f"caddy reload failed: {done.complaint}" if done.returncode else "", held.note)
