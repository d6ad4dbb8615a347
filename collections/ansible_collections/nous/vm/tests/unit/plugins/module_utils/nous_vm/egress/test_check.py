# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the health check on the way out, its configuration, and the host's name servers."""

from __future__ import annotations

import ipaddress
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.egress import check, configuration, policy, resolvers
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.egress.commands import egress_serve
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.egress.configuration import Entry, Limits
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.health import Row

ABOUT: dict[str, Any] = {
    "bind": "127.0.0.1:3128",
    "units": ["nous.service", "nous-proxy.service"],
    "allow": [
        {"name": "api.anthropic.com", "port": 443, "network": "", "tls": True},
        {"name": "otel.example.org", "port": 4318, "network": "10.1.0.0/16", "tls": False},
    ],
    "limits": {"connections": 64, "idle": 600, "total": 3600, "size": 256_000_000},
    "resolvers": ["10.0.0.2"],
    "scores": {"nous-egress.service": 1.0},
}


class Checked:
    """A host, its units and its name servers."""

    def __init__(self) -> None:
        self.about = configuration.parse(ABOUT)
        self.resolvers = ["10.0.0.2", "1.1.1.1"]
        self.states = {
            check.SOCKET: {"ActiveState": "active", "SubState": "listening", "UnitFileState": "enabled"},
            check.SERVICE: {"ActiveState": "inactive", "SubState": "dead", "Result": "success", "NRestarts": "0"},
            "nous.service": {"MainPID": "0"},
        }

    def __getitem__(self, name: str) -> tuple[str, str]:
        return {row.name: (row.status, row.detail) for row in check.check()}[name]


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Checked]:
    made = Checked()
    monkeypatch.setattr(check, "load", lambda: made.about)
    monkeypatch.setattr(check, "show", lambda unit, *_names: made.states[unit])
    monkeypatch.setattr(check, "sandbox", lambda unit, most: Row(f"sandbox of {unit}", "ok", f"at most {most}"))
    monkeypatch.setattr(check, "resolvers", lambda: made.resolvers)
    yield made


def test_a_host_that_is_healthy(checked: Checked) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        checked.about = checked.about._replace(bind=f"127.0.0.1:{listening.getsockname()[1]}")
        checked.states["nous.service"]["MainPID"] = str(os.getpid())
        assert [row for row in check.check() if row.status != "ok"] == []
    assert checked["allowed"] == ("ok", "api.anthropic.com:443, otel.example.org:4318 in 10.1.0.0/16")
    assert checked["proxy"] == ("ok", "not used since boot")


def test_a_socket_that_does_not_listen(checked: Checked) -> None:
    checked.states[check.SOCKET]["ActiveState"] = "failed"
    assert checked["socket"][0] == "fail"
    assert checked["way out"] == ("unknown", "nous.service does not run")
    checked.about = checked.about._replace(bind="127.0.0.1:1")
    checked.states["nous.service"]["MainPID"] = str(os.getpid())
    assert checked["way out"] == ("fail", "nothing listens on 127.0.0.1:1 in the network of nous.service")
    checked.states["nous.service"]["MainPID"] = "999999999"
    assert checked["way out"] == ("unknown", "nous.service just ended")


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ({"ActiveState": "active", "SubState": "running", "Result": "success", "NRestarts": "0"}, "ok"),
        ({"ActiveState": "active", "SubState": "running", "Result": "success", "NRestarts": "2"}, "warn"),
        ({"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "NRestarts": "0"}, "fail"),
        ({"ActiveState": "activating", "SubState": "auto-restart", "Result": "exit-code", "NRestarts": "0"}, "fail"),
    ],
)
def test_the_proxy(checked: Checked, state: dict[str, str], status: str) -> None:
    checked.states[check.SERVICE] = state
    assert checked["proxy"][0] == status


def test_name_servers(checked: Checked) -> None:
    checked.resolvers = ["10.0.0.3"]
    assert checked["name servers"][0] == "fail"
    checked.resolvers = []
    assert checked["name servers"] == ("warn", "there is none in /etc/resolv.conf")


def test_the_name_servers_of_a_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "resolv.conf"
    monkeypatch.setattr(resolvers, "RESOLV", str(path))
    assert resolvers.resolvers() == []
    path.write_text("# x\nnameserver 127.0.0.53\nnameserver\nnameserver fe80::1%eth0\nnameserver x\noptions edns0\nnameserver 1.1.1.1\nnameserver 8.8.8.8\n")
    assert resolvers.resolvers() == ["127.0.0.53", "fe80::1", "1.1.1.1"]
    assert policy.excepted(resolvers.resolvers()) == ["127.0.0.53", "fe80::1"]


def test_configuration(tmp_path: Path) -> None:
    path = tmp_path / "egress.json"
    path.write_text(json.dumps(ABOUT))
    about = configuration.load(path)
    assert about.allow == [Entry("api.anthropic.com", 443), Entry("otel.example.org", 4318, ipaddress.ip_network("10.1.0.0/16"), False)]
    assert about.limits == Limits(64, 600, 3600, 256_000_000)
    path.write_text(json.dumps(ABOUT | {"limits": {}}))
    with pytest.raises(UsageError, match="cannot be used"):
        configuration.load(path)


def test_the_proxy_needs_its_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LISTEN_PID", raising=False)
    with pytest.raises(UsageError, match=r"needs the socket of nous-egress[.]socket"):
        egress_serve.run(None)  # type: ignore[arg-type]
