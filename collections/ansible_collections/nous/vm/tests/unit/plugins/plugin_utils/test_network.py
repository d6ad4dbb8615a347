# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible_collections.nous.vm.plugins.plugin_utils.kinds import cidr

RULE = cidr()


@pytest.mark.parametrize(
    "value",
    [
        "160.79.104.0/21",
        "203.0.113.7/32",
        "0.0.0.0/0",
        "2001:db8::/32",
        "2001:DB8::1/128",
        "::/0",
        "fe80::/10",
    ],
)
def test_a_network(value: object) -> None:
    assert RULE.read("x", value)[1] == []


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("160.79.104.7/21", id="host-bits"),
        pytest.param("2001:db8::1/32", id="host-bits-6"),
        pytest.param("203.0.113.7/33", id="prefix-too-long"),
        pytest.param("2001:db8::/129", id="prefix-too-long-6"),
        pytest.param("203.0.113.7", id="no-prefix"),
        pytest.param("203.0.113.7/", id="empty-prefix"),
        pytest.param("203.0.113.7/032", id="zero-before-prefix"),
        pytest.param("203.0.113.7/-1", id="negative-prefix"),
        pytest.param("203.0.113.007/32", id="zero-before-number"),
        pytest.param("203.0.113.0/255.255.255.0", id="netmask"),
        pytest.param("203.0.113/24", id="three-numbers"),
        pytest.param("2001:db8:::/32", id="three-colons"),
        pytest.param("2001:dg8::/32", id="not-hexadecimal"),
        pytest.param("2001:db8::/32 ", id="blank-after"),
        pytest.param("203.0.113.0/24\n", id="line-feed-after"),
        pytest.param("203.0.113.0/٢٤", id="digits-of-another-script"),
        pytest.param("fe80::%eth0/64", id="zone"),
        pytest.param("::ffff:203.0.113.0/120", id="mapped"),
        pytest.param("::ffff:0:0/96", id="all-mapped"),
        pytest.param("nous.example.org/32", id="name"),
        pytest.param("", id="nothing"),
        pytest.param(24, id="number"),
        pytest.param(None, id="none"),
        pytest.param(["203.0.113.0/24"], id="list"),
    ],
)
def test_not_a_network(value: object) -> None:
    assert RULE.read("x", value)[1] != []
