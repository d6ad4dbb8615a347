# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host's firewall does with who comes from outside, by rules as nftables, ufw and firewalld have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.watch import firewall
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.watch.ruleset import Packet, Ruleset

Rule = list[dict[str, Any]]
ACCEPT, DROP, REJECT = {"accept": None}, {"drop": None}, {"reject": {"type": "icmpx"}}
ESTABLISHED = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}
NEW = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "new"}}
LOOPBACK = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "lo"}}
ETHERNET = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "eth*"}}
KNOWN = {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "@known"}}
TCP = {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "tcp"}}
UDP = {"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 443}}


def port(right: Any, operator: str = "==") -> dict[str, Any]:
    return {"match": {"op": operator, "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": right}}


def verdicts(*pairs: tuple[Any, dict[str, Any]]) -> dict[str, Any]:
    return {"vmap": {"key": {"payload": {"protocol": "tcp", "field": "dport"}}, "data": {"set": [list(pair) for pair in pairs]}}}


def ruleset(rules: list[Rule], policy: str = "drop", table: str = "filter", **chains: list[Rule]) -> list[dict[str, Any]]:
    objects: list[dict[str, Any]] = [{"metainfo": {}}, {"table": {"family": "inet", "name": table}}]
    about = {"family": "inet", "table": table, "name": "input", "type": "filter", "hook": "input", "policy": policy}
    objects += [{"chain": about}, *({"chain": {"family": "inet", "table": table, "name": name}} for name in chains)]
    for name, these in {"input": rules, **chains}.items():
        objects += [{"rule": {"family": "inet", "table": table, "chain": name, "expr": each}} for each in these]
    return objects


def fate(objects: list[dict[str, Any]], number: int = 443) -> str:
    return " ".join(sorted(Ruleset(objects, "nous_").fate(Packet(number, "eth0"))))


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ([], "accept"),
        (ruleset([], "accept"), "accept"),
        (ruleset([[LOOPBACK, ACCEPT], [ESTABLISHED, ACCEPT], [port(22), ACCEPT]]), "drop"),
        (ruleset([[ESTABLISHED, ACCEPT], [TCP, port({"set": [80, 443]}), {"counter": {}}, ACCEPT]]), "accept"),
        (ruleset([[port({"set": [22, {"range": [400, 500]}]}), ACCEPT]]), "accept"),
        (ruleset([[port(22, "!="), ACCEPT]]), "accept"),
        (ruleset([[port("@ports"), ACCEPT]]), "accept drop"),
        (ruleset([[UDP, ACCEPT]]), "drop"),
        (ruleset([[NEW, port(443), REJECT]], "accept"), "drop"),
        (ruleset([[KNOWN, DROP]], "accept"), "accept drop"),
        (ruleset([[KNOWN, ACCEPT], [{"drop": None}]]), "accept drop"),
        (ruleset([[{"limit": {"rate": 10}}, port(443), ACCEPT]]), "accept drop"),
        (ruleset([[{"xt": None}, ACCEPT]]), "accept drop"),
        (ruleset([[ETHERNET, {"jump": {"target": "public"}}], [REJECT]], "accept", public=[[port(443), ACCEPT]]), "accept"),
        (ruleset([[ETHERNET, {"jump": {"target": "public"}}], [REJECT]], "accept", public=[[port(22), ACCEPT]]), "drop"),
        (ruleset([[{"goto": {"target": "public"}}], [ACCEPT]], public=[[{"return": None}]]), "drop"),
        (ruleset([[{"jump": {"target": "a"}}]], a=[[{"jump": {"target": "a"}}]]), "accept drop"),
        (ruleset([[verdicts((22, ACCEPT), (443, ACCEPT))]]), "accept"),
        (ruleset([[verdicts((22, ACCEPT), ({"range": [400, 500]}, {"jump": {"target": "a"}}))]], a=[[DROP]]), "drop"),
        (ruleset([[{"queue": {}}]]), "accept drop"),
        (ruleset([[ACCEPT]]) + ruleset([[port(443), DROP]], "accept", "second"), "drop"),
        (ruleset([[KNOWN, DROP]], "accept", "nous_gateway"), "accept"),
    ],
)
def test_the_fate_of_who_comes_to_443(objects: list[dict[str, Any]], expected: str) -> None:
    assert fate(objects) == expected


def told(monkeypatch: pytest.MonkeyPatch, objects: list[dict[str, Any]], code: int = 0) -> tuple[str, str]:
    monkeypatch.setattr(firewall, "run", lambda _argv, **_options: Completed(code, json.dumps({"nftables": objects}).encode(), b"no"))
    monkeypatch.setattr(firewall, "interface", lambda: "eth0")
    row = firewall.check([80, 443])
    return row.status, row.detail


def test_the_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("UFW", "FIREWALLD"):
        monkeypatch.setattr(firewall, name, tmp_path / name.lower())
    assert told(monkeypatch, []) == ("ok", "lets in on 80 and 443")
    status, detail = told(monkeypatch, ruleset([[port(80), ACCEPT]]))
    assert (status, detail) == ("fail", "nftables lets nobody in on 443; add 'tcp dport 443 accept' to the chain of the hook input")
    firewall.FIREWALLD.touch()
    assert "firewall-cmd --permanent --add-port=443/tcp" in told(monkeypatch, ruleset([[port(80), ACCEPT]]))[1]
    firewall.UFW.write_text("ENABLED=yes\n", encoding="utf-8")
    assert told(monkeypatch, ruleset([]))[1] == "ufw lets nobody in on 80 and 443; sudo ufw allow 80/tcp; sudo ufw allow 443/tcp"
    assert told(monkeypatch, ruleset([[KNOWN, DROP]], "accept"))[0] == "unknown"
    assert told(monkeypatch, [], 1) == ("unknown", "nft does not tell the rules: no")
    assert "apt install nftables" in told(monkeypatch, [], 127)[1]
    assert told(monkeypatch, [{"chain": {}}])[0] == "unknown"


def test_the_interface_of_strangers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(firewall, "ROUTES", tmp_path / "route")
    firewall.ROUTES.write_text("Iface\tDestination\tGateway\neth0\t0000A8C0\t0\nens3\t00000000\t0100A8C0\n", encoding="ascii")
    assert firewall.interface() == "ens3"
    firewall.ROUTES.write_text("Iface\n", encoding="ascii")
    assert firewall.interface() == ""
