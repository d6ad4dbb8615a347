# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each kind of value may be, and what it may not; a line feed at the end of none."""

from __future__ import annotations

import pytest
from ansible_collections.nous.vm.plugins.plugin_utils import kinds
from ansible_collections.nous.vm.plugins.plugin_utils.rules import Rule

KINDS: dict[str, tuple[Rule, list[object], list[object]]] = {
    "absolute path": (
        kinds.absolute_path("/a"),
        ["/a", "/srv/nous/data-1", "/a/_b@c+d.e"],
        ["", "a", "/", "/a/", "/a//b", "/a/../b", "/a/.b", "/a b", "~/a", "/a\n", "/a:b", "/ä"],
    ),
    "absolute path below another": (kinds.absolute_path("/a/b", names=2), ["/a/b", "/a/b/c"], ["/a", "/"]),
    "optional path": (kinds.optional(kinds.absolute_path("/a")), ["", "/a"], ["a", "\n", "/a\n"]),
    "file name": (kinds.file_name("a"), ["a", "audit.jsonl", "A_1@b+c"], ["", ".", "..", ".a", "a/b", "a b", "a\n"]),
    "hostname": (
        kinds.hostname(),
        ["nous.example.org", "a.b", "xn--bcher-kva.example", "nous.localhost"],
        ["nous", "https://a.b", "a.b:443", "a.b/", "A.b", "a..b", "-a.b", "a-.b", "a.1", "a.b.", f"{'a' * 64}.b", f"{'a.' * 127}bc", "a.b\n", "10.0.0.1"],
    ),
    "https URL": (
        kinds.https_url("https://a.b"),
        ["https://nous.example.org"],
        ["http://a.b", "https://a", "https://a.b/", "https://a.b:1", "https://A.b", "https://u@a.b", "https://a.b\n", ""],
    ),
    "network": (
        kinds.cidr(),
        ["203.0.113.7/32", "0.0.0.0/0", "2001:db8::/32", "::/0", "::1/128"],
        [
            "203.0.113.7",
            "203.0.113.7/24",
            "203.0.113.7/33",
            "203.0.113.7/032",
            "2001:db8:::/48",
            "::ffff:1.2.3.4/128",
            "1.2.3.4/255.0.0.0",
            "a/8",
            "1.2.3.4/8\n",
        ],
    ),
    "schedule": (kinds.calendar_event(), ["daily", "*-*-* 03:00:00 UTC", "Mon..Fri 10:00"], ["", "dayly", "sometimes!", "daily\n", "25:00"]),
    "mode": (kinds.octal_mode("0660"), ["0660", "0440", "0755", "0001"], ["0000", "660", "0662", "0777", "0o660", "1660", "0660\n", 432, 660]),
    "unit": (
        kinds.unit_name("service", "slice"),
        ["nous.service", "a@b.service", "user-1000.slice", r"a\x2db.service"],
        ["nous", "nous.timer", ".service", "a b.service", "nous.service\n", "a/b.service"],
    ),
    "account": (kinds.account_name("nous"), ["nous", "_a", "www-data"], ["root", "", "Nous", "1a", "a" * 32, "a b", "nous\n", 0]),
    "account or root": (kinds.account_name("nous", root=True), ["root", "nous"], ["", "0"]),
    "owner": (kinds.owner(), ["root", "nous", "0", 1000], ["", "Root", "-1", "root\n", 10**10]),
    "loopback": (
        kinds.loopback("127.0.0.1:8088"),
        ["127.0.0.1:8088", "127.255.255.255:65535", "127.0.0.1:1024"],
        [
            "127.999.0.1:8088",
            "127.0.0.256:8088",
            "128.0.0.1:8088",
            "127.0.0.1:80",
            "127.0.0.1:65536",
            "127.0.0.1",
            "127.0.0.01:8088",
            "127.0.0.1:8088\n",
            "::1:8088",
        ],
    ),
    "text": (kinds.text_line(), ["", "any text: ä", 7], ["a\nb", "a\n", "a\rb", "a\x00", "a\u2028b", True, None]),
    "choice": (kinds.choice("present", "absent"), ["present", "absent"], ["", "Present", "present\n", True]),
    "integer": (kinds.integer(2, 9, 3), [2, 9, "3"], [1, 10, "3\n", "3.5", None]),
    "seconds": (kinds.seconds(1, 3600, 60), [1, 3600], [0, 3601, 999999]),
    "fraction": (kinds.real(0.01, 100, 1), [0.01, 100, "1.5"], [0, 101, "x"]),
    "packages": (kinds.packages("caddy"), [[], ["caddy", "g++", "libc6:amd64"], "a1,b2"], [["Caddy"], ["-y"], ["caddy\n"], ["a b"], None]),
    "networks": (kinds.cidrs(least=1), [["1.2.3.4/32"], "1.2.3.4/32", "1.2.3.4/32, ::1/128"], [[], "", ["1.2.3.4"], None]),
}
GOOD = [pytest.param(rule, value, id=f"{kind}: {value!r}") for kind, (rule, good, _bad) in KINDS.items() for value in good]
BAD = [pytest.param(rule, value, id=f"{kind}: {value!r}") for kind, (rule, _good, bad) in KINDS.items() for value in bad]


@pytest.mark.parametrize(("rule", "value"), GOOD)
def test_allowed(rule: Rule, value: object) -> None:
    assert rule.read("x", value)[1] == []


@pytest.mark.parametrize(("rule", "value"), BAD)
def test_not_allowed(rule: Rule, value: object) -> None:
    (fault,) = rule.read("x", value)[1]
    assert str(fault).startswith("x ")
    assert "; allowed is " in str(fault)
    assert str(fault).isprintable()


def test_urls_with_credentials() -> None:
    assert kinds.without_credentials("https://example.org/@a")
    assert not kinds.without_credentials("https://ada@example.org")


def test_required() -> None:
    assert kinds.required(kinds.hostname()).required
    assert not kinds.hostname().required


def test_optional_keeps_what_is_accepted() -> None:
    rule = kinds.optional(kinds.calendar_event())
    assert rule.read("x", "")[1] == []
    assert rule.read("x", "dayly")[1]
