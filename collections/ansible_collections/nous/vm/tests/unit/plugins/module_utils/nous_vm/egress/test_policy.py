# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which names and ports are allowed, and which addresses of theirs."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.egress import policy
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.egress.configuration import Entry
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.egress.request import Denied, Target

API = Entry("api.anthropic.com", 443)
COLLECTOR = Entry("otel.example.org", 4318, ipaddress.ip_network("10.1.0.0/16"))
ALLOW = [API, Entry("api.anthropic.com", 8443), COLLECTOR]
PUBLIC = ["160.79.104.10", "2607:6bc0::10"]


def nobody(_address: policy.Address) -> bool:
    return False


def test_an_entry() -> None:
    assert policy.entry(Target("api.anthropic.com", 8443), ALLOW) == ALLOW[1]


@pytest.mark.parametrize(
    ("wanted", "kind"),
    [
        (Target("evil.example.org", 443), "name"),
        (Target("x.api.anthropic.com", 443), "name"),
        (Target("anthropic.com", 443), "name"),
        (Target("api.anthropic.com.evil.org", 443), "name"),
        (Target("api.anthropic.com", 22), "port"),
        (Target("otel.example.org", 443), "port"),
    ],
)
def test_what_no_entry_allows(wanted: Target, kind: str) -> None:
    with pytest.raises(Denied) as denied:
        policy.entry(wanted, ALLOW)
    assert denied.value.kind == kind


def test_public_addresses() -> None:
    assert policy.permitted(PUBLIC, API, nobody) == PUBLIC


FORBIDDEN = {
    "loopback": "127.0.0.53",
    "nothing": "0.0.0.0",  # noqa: S104 - nobody listens
    "private": "10.1.2.3",
    "private, in the middle": "172.31.0.1",
    "private, at home": "192.168.1.1",
    "carrier": "100.64.0.1",
    "metadata of Alibaba": "100.100.100.200",
    "metadata of Azure": "168.63.129.16",
    "metadata of Oracle": "192.0.0.192",
    "metadata": "169.254.169.254",
    "documentation": "203.0.113.9",
    "benchmarks": "198.18.0.1",
    "multicast": "224.0.0.1",
    "reserved": "255.255.255.255",
    "IPv6 loopback": "::1",
    "IPv6 nothing": "::",
    "IPv4 in IPv6": "::ffff:10.0.0.1",
    "public IPv4 in IPv6": "::ffff:160.79.104.10",
    "IPv4 in IPv6, old": "::10.0.0.1",
    "IPv4 behind a translator": "64:ff9b::a00:1",
    "6to4": "2002:a00:1::1",
    "Teredo": "2001:0:a00:1::1",
    "unique local": "fd00:ec2::254",
    "IPv6 link-local": "fe80::1",
    "IPv6 link-local with a zone": "fe80::1%eth0",
    "site-local": "fec0::1",
    "IPv6 multicast": "ff02::1",
    "IPv6 documentation": "2001:db8::1",
}


@pytest.mark.parametrize("address", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_forbidden_addresses(address: str) -> None:
    with pytest.raises(Denied) as denied:
        policy.permitted([address], API, nobody)
    assert denied.value.kind == "address"
    assert policy.permitted([address, PUBLIC[0]], API, nobody) == [PUBLIC[0]], "a name that leads to several"


@pytest.mark.parametrize("address", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_the_kernel_has_them_in_its_list(address: str) -> None:
    assert policy.within(ipaddress.ip_address(address.partition("%")[0]), policy.NETWORKS)


def test_what_python_knows_to_be_special_needs_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that becomes special is one to a Python that was told, before it is in this list."""
    monkeypatch.setattr(policy, "NETWORKS", ())
    with pytest.raises(Denied, match="none is public"):
        policy.permitted(["10.1.2.3", "fd00::1"], API, nobody)


def test_no_public_address_is_in_the_list() -> None:
    assert not any(policy.within(ipaddress.ip_address(each), policy.NETWORKS) for each in [*PUBLIC, "1.1.1.1", "8.8.8.8", "2606:4700::1111"])


def test_the_network_of_an_entry() -> None:
    assert policy.permitted(["10.1.2.3", "10.2.0.1", "160.79.104.10", "127.0.0.1"], COLLECTOR, nobody) == ["10.1.2.3"]
    with pytest.raises(Denied, match=r"none is in 10[.]1[.]0[.]0/16"):
        policy.permitted(["10.2.0.1"], COLLECTOR, nobody)


def test_a_network_of_everything_has_no_loopback() -> None:
    everything = Entry("otel.example.org", 4318, ipaddress.ip_network("0.0.0.0/0"))
    for address in ("127.0.0.1", "169.254.169.254", "168.63.129.16", "224.0.0.1"):
        with pytest.raises(Denied):
            policy.permitted([address], everything, nobody)


def test_the_host_s_own_addresses() -> None:
    assert policy.is_own(ipaddress.ip_address("127.0.0.1"))
    assert not policy.is_own(ipaddress.ip_address("160.79.104.10"))
    with pytest.raises(Denied):
        policy.permitted([PUBLIC[0]], API, lambda address: str(address) == PUBLIC[0])


def test_no_way_there_is_not_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Asked:
        def __enter__(self) -> object:
            return self

        def __exit__(self, *_error: object) -> None:
            """Nothing was opened."""

        def connect(self, _address: object) -> None:
            raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "socket", lambda *_about: Asked())
    assert not policy.is_own(ipaddress.ip_address("2607:6bc0::10"))


def test_a_name_without_an_address() -> None:
    with pytest.raises(Denied, match="leads to no address"):
        policy.permitted([], API, nobody)
