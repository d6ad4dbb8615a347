# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel's packet filter does with a new TCP connection from outside, as far as its rules tell: they are followed with what is known of the packet.

nftables, and with it ufw, firewalld and iptables, whose rules are in the same ruleset; libnftables-json(5) is its language. What a rule looks at and is not
known here may be so or not, and both are followed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

ACCEPT, DROP, NEXT, END = "accept", "drop", "next", "end"
DEPTH = 32  # chains that call one another
RULES = 100_000  # that are followed


class Packet(NamedTuple):
    """The first packet of a connection: the port that it goes to, and the interface that it comes by."""

    port: int
    interface: str


class Ruleset:
    """The chains of a ruleset, by family, table and name."""

    def __init__(self, objects: Sequence[Mapping[str, Any]], without: str) -> None:
        """without: the beginning of the names of tables that are not followed."""
        self.base: list[tuple[str, str, str, str]] = []
        self.rules: dict[tuple[str, str, str], list[list[dict[str, Any]]]] = {}
        self.left = RULES
        for each in objects:
            if "chain" in each and each["chain"]["family"] in ("ip", "inet") and not each["chain"]["table"].startswith(without):
                about = each["chain"]
                self.rules[about["family"], about["table"], about["name"]] = []
                if about.get("hook") in ("input", "prerouting") and about.get("type") == "filter":
                    self.base.append((about["family"], about["table"], about["name"], about.get("policy", ACCEPT)))
            elif "rule" in each:
                about = each["rule"]
                self.rules.setdefault((about["family"], about["table"], about["chain"]), []).append(about["expr"])

    def fate(self, packet: Packet) -> set[str]:
        """Return what may become of a packet: accept, drop, or both. Dropped anywhere, it is dropped."""
        fates = set()
        for family, table, chain, policy in self.base:
            found = {policy if each in (NEXT, END) else each for each in self._chain((family, table, chain), packet, DEPTH)}
            if found == {DROP}:
                return {DROP}
            fates |= found
        return fates or {ACCEPT}

    def _chain(self, name: tuple[str, str, str], packet: Packet, depth: int) -> set[str]:
        found: set[str] = set()
        for rule in self.rules.get(name, []):
            self.left -= 1
            if self.left < 0 or not depth:
                return found | {ACCEPT, DROP}
            outcome = self._rule(rule, name, packet, depth)
            found |= outcome - {NEXT}
            if NEXT not in outcome:
                return found
        return found | {NEXT}

    def _rule(self, rule: list[dict[str, Any]], name: tuple[str, str, str], packet: Packet, depth: int) -> set[str]:
        sure = True
        for expression in rule:
            ((kind, about),) = expression.items()
            if kind == "match":
                met = matches(about, packet)
                if met is False:
                    return {NEXT}
                sure = sure and met is True
            elif kind in (ACCEPT, DROP, "reject", "return", "jump", "goto", "vmap", "queue"):
                found = self._verdict(kind, about, name, packet, depth)
                return found if sure else found | {NEXT}
            elif kind in ("limit", "xt", "ct count", "quota"):
                sure = False
        return {NEXT}

    def _verdict(self, kind: str, about: Any, name: tuple[str, str, str], packet: Packet, depth: int) -> set[str]:
        if kind in ("jump", "goto"):
            found = self._chain((*name[:2], str(about["target"])), packet, depth - 1)
            beyond = {NEXT} if kind == "jump" else {END}
            return {next(iter(beyond)) if each in (NEXT, END) else each for each in found}
        if kind == "vmap":
            return self._map(about, name, packet, depth)
        return {ACCEPT: {ACCEPT}, DROP: {DROP}, "reject": {DROP}, "return": {END}}.get(kind, {ACCEPT, DROP})

    def _map(self, about: Mapping[str, Any], name: tuple[str, str, str], packet: Packet, depth: int) -> set[str]:
        pairs = about["data"].get("set", []) if isinstance(about["data"], dict) else []
        found: set[str] = set()
        for value, verdict in pairs:
            met = matches({"op": "==", "left": about["key"], "right": value}, packet)
            if met is not False:
                ((kind, target),) = verdict.items()
                found |= self._verdict(kind, target, name, packet, depth)
            if met is True:
                return found
        return found | {NEXT}


def matches(about: Mapping[str, Any], packet: Packet) -> bool | None:
    """Tell whether a packet is as a rule wants it; None if that is not known."""
    left, right, operator = about["left"], about["right"], about["op"]
    known = value_of(left, packet)
    if known is None or operator not in ("==", "in", "!="):
        return None
    met = among(known, right)
    return met if met is None or operator != "!=" else not met


def value_of(left: Mapping[str, Any], packet: Packet) -> str | int | None:
    """Return what a packet has where a rule looks; None if that is not known."""
    ((kind, about),) = left.items() if isinstance(left, Mapping) and len(left) == 1 else (("", {}),)
    names: dict[tuple[str, str], str | int] = {
        ("payload", "dport"): packet.port if about.get("protocol") in ("tcp", "th") else "",
        ("payload", "protocol"): "tcp",
        ("meta", "l4proto"): "tcp",
        ("meta", "nfproto"): "ipv4",
        ("meta", "protocol"): "ip",
        ("meta", "iifname"): packet.interface,
        ("meta", "iif"): packet.interface,
        ("ct", "state"): "new",
    }
    found = names.get((kind, str(about.get("field") or about.get("key"))))
    if kind == "payload" and found is None and about.get("protocol") in ("udp", "icmp", "icmpv6", "ip6"):
        return ""  # what such a packet has is met by no TCP over IPv4
    return found


def among(value: str | int, right: Any) -> bool | None:
    """Tell whether a value is one of those of a rule; None if that is not known."""
    if isinstance(right, dict):
        if "range" in right:
            low, high = right["range"]
            return isinstance(value, int) and isinstance(low, int) and low <= value <= high
        return among(value, right["set"]) if "set" in right else None
    if isinstance(right, list):
        met = [among(value, each) for each in right]
        return True if True in met else None if None in met else False
    word = str(right)
    if word.startswith("@"):
        return None
    return str(value).startswith(word[:-1]) if word.endswith("*") else {"6": "tcp"}.get(word, word) == str(value)
