# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A list of networks that is fetched adds to the allow list, or changes nothing."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import events, locks
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import ForeignError, NousVmError, UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import apply, configuration, fetched, fetched_list, https
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway.commands import gate_fetch, gate_list, gate_update

URL = "https://lists.example.org/vendor.txt"
PARAMETERS = {"config": "/etc/caddy/Caddyfile", "hostname": "h", "cidrs": ["203.0.113.7/32"], "public_paths": [], "limits": True, "score": None}
NONE = argparse.Namespace(motd=False)


class Host:
    """What is on disk, what the gateway has against it, and how often it took it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.events, self.taken = folder, list[str](), list[str]()
        self.fault: Callable[[str], str] = lambda _text: ""

    def offer(self, text: str) -> None:
        fetched.FETCHED.write_text(text, encoding="utf-8")

    def serve(self, _other: dict[str, str]) -> str:
        self.taken.append(self.served)
        return self.fault(self.served)

    @property
    def served(self) -> str:
        return fetched.CADDY_FILE.read_text(encoding="utf-8") if fetched.CADDY_FILE.exists() else ""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path)
    monkeypatch.setattr(fetched_list, "STATE_FILE", tmp_path / "state_file")
    for name in ("FETCHED", "CADDY_FILE", "NFT_FILE"):
        monkeypatch.setattr(fetched, name, tmp_path / name.lower())
    for name in ("CADDYFILE", "DROP_IN", "PARAMETERS", "KNOWN_GOOD"):
        monkeypatch.setattr(configuration, name, tmp_path / f"of_{name.lower()}")
    configuration.PARAMETERS.write_text(json.dumps({**PARAMETERS, "list_url": URL}), encoding="utf-8")
    configuration.keep_known_good(configuration.on_disk())
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(locks, "FOLDER", tmp_path / "locks")
    monkeypatch.setattr(apply, "serve", made.serve)
    monkeypatch.setattr(events, "record", lambda event, *_result, **_about: made.events.append(event))
    return made


def test_it_adds_and_takes_back_what_it_added(host: Host) -> None:
    host.offer("# ours\n198.51.100.0/25\n198.51.100.128/25   # its other half\n\n2001:db8:1::/48\n")
    assert gate_update.run(NONE).document == {"message": "2 networks; added: 198.51.100.0/24, 2001:db8:1::/48; removed: none"}
    assert host.served.splitlines()[1:] == ["remote_ip 198.51.100.0/24 2001:db8:1::/48"]
    assert fetched.NFT_FILE.read_text(encoding="utf-8").splitlines()[1:] == [
        "add element inet nous_gateway listed4 { 198.51.100.0/24 }",
        "add element inet nous_gateway listed6 { 2001:db8:1::/48 }",
    ]
    assert fetched.CADDY_FILE.stat().st_mode & 0o777 == 0o644
    found = gate_list.run(NONE)
    assert found.document["fetched"] == ["198.51.100.0/24", "2001:db8:1::/48"]
    assert "198.51.100.0/24  by the list that is fetched" in found.text
    assert gate_update.run(NONE).text == "2 networks, as before"
    assert len(host.taken) == 1
    host.offer("2001:db8:1::/48")
    assert gate_update.run(NONE).text == "1 networks; added: none; removed: 198.51.100.0/24"
    assert fetched_list.networks() == ["2001:db8:1::/48"]
    assert host.events == ["list of networks applied"] * 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing",
        "<html>",
        "198.51.100.9/24",
        "198.51.100.0/24 { respond x }",
        "198.51.100.0/24}\nhandle {",
        "0.0.0.0/0",
        "16.0.0.0/7",
        "2001::/15",
        "10.0.0.0/8\n11.0.0.0/24",
        "2001::/16\n2002::/48",
        "127.0.0.0/8",
        "127.1.2.3",
        "::1",
        "fe80::/64",
        "224.0.0.0/8",
        "0.0.0.0/32",
        "::ffff:198.51.100.0/120",
        "\n".join(f"10.0.{number // 128}.{number % 128 * 2}" for number in range(fetched.NETWORKS + 1)),
        "198.51.100.0/24\n\x1b[31m",
    ],
)
def test_a_list_that_is_anything_else_changes_nothing(host: Host, text: str) -> None:
    host.offer("198.51.100.0/24")
    gate_update.run(NONE)
    before = (host.served, fetched_list.current())
    host.offer(text)
    with pytest.raises(ForeignError) as error:
        gate_update.run(NONE)
    assert str(error.value).isprintable()
    assert (host.served, fetched_list.current(), len(host.taken)) == (*before, 1)


def test_as_wide_as_one_network_may_be() -> None:
    assert fetched.parsed(b"10.0.0.0/9\n10.128.0.0/9\n2001::/16") == ["10.0.0.0/8", "2001::/16"]


def test_one_with_which_the_gateway_is_not_ready_is_rolled_back(host: Host) -> None:
    host.offer("198.51.100.0/24")
    gate_update.run(NONE)
    before = (host.served, fetched.NFT_FILE.read_text(encoding="utf-8"), fetched_list.current())
    host.offer("192.0.2.0/24")
    host.fault = lambda text: "it hangs." if "192.0.2.0" in text else ""
    with pytest.raises(NousVmError, match=r"it hangs[.] The list from before serves[.]"):
        gate_update.run(NONE)
    assert (host.served, fetched.NFT_FILE.read_text(encoding="utf-8"), fetched_list.current()) == before
    assert "198.51.100.0" in host.taken[-1]
    host.fault = lambda _text: "it hangs."
    with pytest.raises(NousVmError, match="was put back, but: it hangs"):
        gate_update.run(NONE)
    assert (host.served, fetched_list.current()) == (before[0], before[2])


def test_a_first_one_that_fails_leaves_nothing(host: Host) -> None:
    host.offer("192.0.2.0/24")

    def broken(_text: str) -> str:
        raise OSError("no systemctl")

    host.fault = broken
    with pytest.raises(OSError, match="no systemctl"):
        gate_update.run(NONE)
    assert (host.served, fetched.NFT_FILE.exists(), fetched_list.current(), fetched_list.networks()) == ("", False, None, [])


def test_a_configuration_that_was_not_verified_is_left_to_the_role(host: Host) -> None:
    changed = {**PARAMETERS, "list_url": URL, "cidrs": []}
    configuration.PARAMETERS.write_text(json.dumps(changed), encoding="utf-8")
    host.offer("192.0.2.0/24")
    with pytest.raises(NousVmError, match="run the site"):
        gate_update.run(NONE)
    assert host.taken == []


def test_what_is_fetched_is_left_for_root_if_it_is_a_list(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    given = b"198.51.100.0/24"
    monkeypatch.setattr(https, "get", lambda url, **_limits: given if url == URL else b"")
    gate_fetch.run(NONE)
    assert fetched.FETCHED.read_bytes() == given
    given = b"<html>"
    with pytest.raises(ForeignError, match="line 1 is '<html>'"):
        gate_fetch.run(NONE)


def test_only_root_and_only_with_a_url(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration.PARAMETERS.write_text(json.dumps(PARAMETERS), encoding="utf-8")
    with pytest.raises(UsageError, match="caddy_gateway_anthropic_cidrs_url names one"):
        gate_update.run(NONE)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="run it with sudo"):
        gate_update.run(NONE)


def test_its_age_is_a_row_of_the_check(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    result = {"Result": "success"}
    monkeypatch.setattr(fetched, "show", lambda _unit, *_names: result)
    assert fetched.row(URL) == ("warn", f"{URL} was not fetched yet")
    host.offer("198.51.100.0/24")
    gate_update.run(NONE)
    assert fetched.row(URL) == ("ok", f"1 networks of {URL}, fetched 0 h ago")
    assert fetched.row("https://other.example.org/")[0] == "warn"
    result["Result"] = "exit-code"
    assert fetched.row(URL) == ("ok", f"1 networks of {URL}, fetched 0 h ago; the last attempt failed: sudo journalctl --unit={fetched.UNIT}")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + fetched.OLD + 3600)
    assert fetched.row(URL)[0] == "warn"
