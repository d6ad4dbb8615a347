# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is allowed for a time, and how old the vendor's list is."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import events, locks
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError, UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import allowed, configuration, fetched_list, limits, lists
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway.commands import gate_allow, gate_arrived, gate_forget, gate_list
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway.denials import Denial, is_client, shown
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway.reload import Reloaded
from ansible_collections.nous.vm.plugins.plugin_utils.roles.caddy_gateway import OPTIONS, VENDOR, VENDOR_LIST

PARAMETERS = {"config": "/etc/caddy/Caddyfile", "hostname": "h", "cidrs": ["203.0.113.7/32"], "public_paths": [], "limits": True, "score": None}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(allowed, "STATE_FILE", tmp_path / "allowed.json")
    monkeypatch.setattr(allowed, "CADDY_FILE", tmp_path / "allowed.caddy")
    monkeypatch.setattr(fetched_list, "STATE_FILE", tmp_path / "list.json")
    monkeypatch.setattr(configuration, "PARAMETERS", tmp_path / "gateway.json")
    monkeypatch.setattr(locks, "FOLDER", tmp_path / "locks")
    monkeypatch.setattr(events, "record", lambda *_event, **_about: None)
    monkeypatch.setattr(gate_allow, "reload", lambda: Reloaded("", ""))
    (tmp_path / "gateway.json").write_text(json.dumps({**PARAMETERS, "listed_paths": ["/", "/token"], "vendor_list": VENDOR_LIST}))
    return tmp_path


def arguments(address: str, lasting: str = "12h") -> argparse.Namespace:
    return argparse.Namespace(address=address, time=lasting)


def test_it_is_written_for_caddy_and_gone_after_its_time(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    found = gate_allow.run(arguments("198.51.100.9")).document
    assert (found["network"], now + 43198 < found["until"] < now + 43260) == ("198.51.100.9/32", True)
    gate_allow.run(arguments("2001:db8:1::/48", "1m"))
    gate_allow.run(arguments("198.51.100.9", "1d"))
    assert [each.network for each in allowed.current()] == ["2001:db8:1::/48", "198.51.100.9/32"]
    text = (here / "allowed.caddy").read_text()
    until = int(allowed.current()[1].until)
    assert text.count(f"remote_ip 198.51.100.9/32\n\texpression `int({{time.now.unix}}) < {until}") == 2, "with a token, and without"
    assert text.index("import caddy_gateway_server_with_token\n") < text.index("import caddy_gateway_server\n")
    assert '{http.request.uri}.split("?")[0] in ["/", "/token"]`' in text
    assert (here / "allowed.caddy").stat().st_mode & 0o777 == 0o644
    assert lists.for_a_time()[0] == "warn"
    assert gate_list.run(argparse.Namespace(motd=False)).text.splitlines()[0] == "203.0.113.7/32  by the inventory"
    message = gate_list.run(argparse.Namespace(motd=True)).text.splitlines()
    assert [line.startswith("The gateway also allows") and "sudo nous-vm gate forget" in line for line in message] == [True, True]
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    assert [each["network"] for each in gate_list.run(argparse.Namespace(motd=False)).document["for_a_time"]] == ["198.51.100.9/32"]
    assert gate_forget.run(arguments("198.51.100.9")).document == {"forgotten": True}
    assert gate_forget.run(arguments("198.51.100.9")).document == {"forgotten": False}
    assert not (here / "allowed.caddy").exists()
    assert lists.for_a_time() == ("ok", "nobody")
    assert gate_list.run(argparse.Namespace(motd=True)).text == ""


def test_of_a_gateway_that_is_public_all_paths_are(here: Path) -> None:
    (here / "gateway.json").write_text(json.dumps(PARAMETERS))
    allowed.allow("198.51.100.9", 60)
    assert "http.request.uri" not in (here / "allowed.caddy").read_text()


WIDE = ["0.0.0.0/0", "198.51.100.0/23", "2001:db8::/47"]
NOBODYS = ["127.0.0.1", "::1", "0.0.0.0/32", "169.254.1.1", "fe80::1", "224.0.0.1", "::ffff:203.0.113.7"]


@pytest.mark.parametrize("text", ["", "x", "198.51.100.9/24", "198.51.100.9 {", "198.51.100.9\n", *WIDE, *NOBODYS])
def test_networks_that_are_none_too_wide_or_nobodys(text: str) -> None:
    with pytest.raises(UsageError, match="for example 203"):
        allowed.network(text)


@pytest.mark.parametrize("text", ["", "h", "0m", "012h", "8d", "12", "1w", "1.5h", "-1h", "999999m"])
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="for example 12h"):
        allowed.seconds(text)


def test_me_is_who_came_by_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sudo leaves nothing of it in its own environment, so it is that of a process before it."""
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    own = os.getpid()
    files = {
        f"/proc/{own}/environ": b"PATH=/bin\0",
        f"/proc/{own}/stat": f"{own} (a) b) S 50 1".encode(),
        "/proc/50/environ": b"A=b\0SSH_CONNECTION=198.51.100.9 5000 203.0.113.1 22\0",
    }
    monkeypatch.setattr(locks, "read_file", lambda path: files[path])
    assert allowed.network("me") == "198.51.100.9/32"
    files["/proc/50/environ"] = b"SSH_CONNECTION=\x1b[2J x\0"
    with pytest.raises(UsageError, match="nobody who came by ssh"):
        allowed.me()
    files["/proc/50/environ"], files["/proc/50/stat"] = b"", b"50 (sshd) S 1 1"
    with pytest.raises(UsageError, match="nobody who came by ssh"):
        allowed.me()

    def gone(_path: str) -> bytes:
        raise OSError

    monkeypatch.setattr(locks, "read_file", gone)
    with pytest.raises(UsageError, match="nobody who came by ssh"):
        allowed.me()


def test_a_caddy_that_does_not_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_allow, "reload", lambda: Reloaded("caddy reload failed: x", ""))
    with pytest.raises(NousVmError, match="caddy reload failed"):
        gate_allow.run(arguments("198.51.100.9"))


def test_only_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for command in (gate_allow, gate_arrived, gate_forget):
        with pytest.raises(UsageError, match="run it with sudo"):
            command.run(arguments("198.51.100.9"))


def test_the_age_of_the_vendors_list(here: Path) -> None:
    made = datetime.date.fromisoformat(VENDOR_LIST["date"])
    assert lists.vendor(made + datetime.timedelta(days=90))[0] == "ok"
    status, detail = lists.vendor(made + datetime.timedelta(days=91))
    assert (status, "91 days old" in detail) == ("warn", True)
    (here / "gateway.json").write_text(json.dumps({**PARAMETERS, "vendor_list": None}))
    assert lists.vendor() == ("ok", "the inventory's own")
    assert "caddy_gateway_anthropic_cidrs" in OPTIONS
    assert VENDOR == ["160.79.104.0/21", "153.61.208.0/20"]


@pytest.mark.parametrize(
    ("method", "path", "reason", "client"),
    [("POST", "/", "address", True), ("POST", "/token", "address", True), ("GET", "/", "address", False), ("POST", "/x", "address", False)],
)
def test_a_client_from_a_network_that_is_missing(method: str, path: str, reason: str, client: bool) -> None:
    found = Denial(1.8e9, "198.51.100.9", method, f"nous.example.org{path}", reason)
    assert is_client(found) == client
    assert ("sudo nous-vm gate allow 198.51.100.9" in shown("198.51.100.9", 1, found)) == client


def test_whose_connections_arrive(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the controller that gets no answer, whoever allowed it."""
    arrived = {"203.0.113.7": True, "198.51.100.9": True}
    monkeypatch.setattr(limits, "arrived", lambda address: arrived.get(address, False))
    monkeypatch.setattr(allowed, "me", lambda: "203.0.113.7")

    def asked(address: str) -> dict[str, Any]:
        return gate_arrived.run(argparse.Namespace(address=address)).document

    assert asked("me") == {"address": "203.0.113.7", "listed": True, "arrived": True}
    assert asked("198.51.100.9") == {"address": "198.51.100.9", "listed": False, "arrived": True}
    gate_allow.run(arguments("198.51.100.9"))
    assert asked("198.51.100.9")["listed"] is True
    assert asked("203.0.113.8") == {"address": "203.0.113.8", "listed": False, "arrived": False}
    (here / "gateway.json").write_text(json.dumps({**PARAMETERS, "limits": False}))
    assert asked("me")["arrived"] is None
