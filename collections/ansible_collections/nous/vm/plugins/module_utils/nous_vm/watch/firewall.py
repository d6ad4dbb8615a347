# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The row on the host's own firewall: whether it lets in whom the gateway is to answer. What a cloud puts before the host is not seen from here."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import ForeignError
from ..foreign import parse_json, read_file
from ..health import Row
from ..programs import run
from .ruleset import ACCEPT, DROP, Packet, Ruleset

NFT = "/usr/sbin/nft"
NAME = "firewall"
TIMEOUT = 10.0  # seconds
OWN = "nous_"  # tables that are ours, and have rows of their own
ROUTES, UFW, FIREWALLD = Path("/proc/net/route"), Path("/etc/ufw/ufw.conf"), Path("/etc/firewalld/firewalld.conf")


def interface() -> str:
    """Return the interface of the default route, by which strangers come; empty if there is none."""
    lines = [line.split() for line in read_file(ROUTES).decode("ascii", "replace").splitlines()[1:]]
    return next((words[0] for words in lines if len(words) > 2 and words[1] == "00000000"), "")


def manager() -> tuple[str, str]:
    """Return who writes the host's rules, and the command that lets a port in."""
    if UFW.exists() and re.search(rb"^ENABLED=yes", read_file(UFW), re.MULTILINE):
        return "ufw", "sudo ufw allow {port}/tcp"
    if FIREWALLD.exists():
        return "firewalld", "sudo firewall-cmd --permanent --add-port={port}/tcp && sudo firewall-cmd --reload"
    return "nftables", "add 'tcp dport {port} accept' to the chain of the hook input"


def check(ports: list[int]) -> Row:
    """Return the row. ports: those that are to be open."""
    done = run([NFT, "--json", "--terse", "list", "ruleset"], timeout=TIMEOUT, limit=16 << 20)
    if done.returncode == 127:
        return Row(NAME, "unknown", "there is no nft on this host to ask for its rules; sudo apt install nftables")
    if done.returncode:
        return Row(NAME, "unknown", f"nft does not tell the rules: {done.complaint}")
    try:
        objects = parse_json(done.stdout, "what nft printed")["nftables"]
        come = interface()
        fates = {port: Ruleset(objects, OWN).fate(Packet(port, come)) for port in ports}
    except (ForeignError, LookupError, TypeError, ValueError, AttributeError, OSError) as error:
        return Row(NAME, "unknown", f"the rules of this host are not understood: {error!r}")
    closed = [port for port, fate in fates.items() if fate == {DROP}]
    unsure = [port for port, fate in fates.items() if ACCEPT in fate and DROP in fate]
    who, how = manager()
    if closed:
        return Row(NAME, "fail", f"{who} lets nobody in on {_listed(closed)}; {'; '.join(how.format(port=port) for port in closed)}")
    if unsure:
        return Row(NAME, "unknown", f"whether {who} lets everybody in on {_listed(unsure)} depends on more than the port; nous.vm.verify asks from outside")
    return Row(NAME, "ok", f"lets in on {_listed(ports)}")


def _listed(ports: list[int]) -> str:
    return " and ".join(map(str, ports))
