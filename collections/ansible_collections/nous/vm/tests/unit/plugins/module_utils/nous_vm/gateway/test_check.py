# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gateway's rows of the health check."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import health
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import ForeignError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import admin, check, configuration, denials, limits, probe
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.health import Row
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.network import Listener

PARAMETERS = configuration.Parameters(configuration.CADDYFILE, "nous.example.org", ["203.0.113.7/32"], ["/authorize", "/x"], True, 1.4)
DENIED = probe.Answer(403, "address", "127.0.0.1")


class Host:
    """A gateway as it should be; a test changes one thing of it."""

    def __init__(self, folder: Path) -> None:
        self.owner = "ours"
        self.desired: dict[str, Any] = {"admin": {"listen": f"unix/{folder}/admin/admin.sock"}}
        self.served: Any = self.desired
        self.answers: dict[str, Any] = {"/": DENIED, "/authorize": probe.Answer(200, "", "127.0.0.1"), "/x": probe.Answer(404, "", "127.0.0.1")}
        self.ports = {80, 443}
        self.certificate: Any = probe.Certificate(time.time() - 30 * 86400, time.time() + 60 * 86400 + 60, "the end")

    def ask(self, address: str, hostname: str, path: str) -> probe.Answer:
        assert (address, hostname) == ("127.0.0.1", PARAMETERS.hostname)
        found: probe.Answer = self.given(self.answers[path])
        return found

    @staticmethod
    def given(value: Any) -> Any:
        if isinstance(value, Exception):
            raise value
        return value


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    made, folder = Host(tmp_path), tmp_path / "admin"
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(configuration, "owner", lambda _path: made.owner)
    monkeypatch.setattr(configuration, "parameters", lambda: PARAMETERS)
    monkeypatch.setattr(configuration, "USER", folder.owner())
    monkeypatch.setattr(admin, "desired", lambda: made.desired)
    monkeypatch.setattr(admin, "served", lambda _socket: made.given(made.served))
    monkeypatch.setattr(probe, "ask", made.ask)
    monkeypatch.setattr(probe, "certificate", lambda _hostname: made.given(made.certificate))
    monkeypatch.setattr(check, "listeners", lambda: {"socket:[1]": Listener(b"\0\0\0\0", 443)})
    monkeypatch.setattr(check, "ports_of", lambda _process, _sockets: made.ports)
    monkeypatch.setattr(denials, "FOLDER", tmp_path / "logs")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "admin.sock"))
        yield made


def test_all_rows(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = {"ActiveState": "active", "SubState": "running", "ActiveEnterTimestamp": "today", "UnitFileState": "enabled", "NRestarts": "0", "MainPID": "7"}
    monkeypatch.setattr(check, "show", lambda _unit, *_names: unit)
    monkeypatch.setattr(health, "score", lambda _unit: 1.4)
    monkeypatch.setattr(limits, "check", lambda wanted: Row("connection limits", "ok" if wanted else "fail", ""))
    rows = list(check.check())
    assert [row for row in rows if row.status != "ok"] == []
    assert [row.name for row in rows] == [
        *("service", "starts at boot", "crashes", "configuration", "allow list", "allowed for a time", "vendor's list"),
        *("public paths", "admin API", "connection limits", "certificate"),
        *("sandbox of caddy.service", "denied in the last hour"),
    ]


def test_configuration(host: Host) -> None:
    assert check.serves(PARAMETERS, host.desired) == ("configuration", "ok", "Caddy serves what /etc/caddy/Caddyfile says")
    host.served = {}
    assert check.serves(PARAMETERS, host.desired) == ("configuration", "fail", "Caddy does not serve what /etc/caddy/Caddyfile says")
    host.served = ForeignError("it did not answer in time")
    assert check.serves(PARAMETERS, host.desired)[1:] == ("fail", "Caddy does not answer what it serves: it did not answer in time")
    host.owner = "package"
    assert check.serves(PARAMETERS, host.desired)[1:] == ("fail", "/etc/caddy/Caddyfile is package, not the role's")


def test_allow_list(host: Host) -> None:
    assert check.allow_list(PARAMETERS) == ("allow list", "ok", "403 for 127.0.0.1, which is not on the allow list")
    host.answers["/"] = probe.Answer(200, "", "127.0.0.1")
    assert check.allow_list(PARAMETERS).status == "fail"
    assert check.allow_list(PARAMETERS._replace(cidrs=["127.0.0.1/32"])) == Row(
        "allow list", "unknown", "127.0.0.1, this host's own address, is on the allow list"
    )
    host.answers["/"] = OSError("no route")
    assert check.allow_list(PARAMETERS)[1:] == ("fail", "the gateway does not answer: no route")


@pytest.mark.parametrize(("answer", "status"), [((200, ""), "ok"), ((502, ""), "fail"), ((403, "address"), "fail")])
def test_public_paths(host: Host, answer: tuple[int, str], status: str) -> None:
    host.answers["/authorize"] = probe.Answer(*answer, "127.0.0.1")
    assert check.public_paths(PARAMETERS) == ("public paths", status, f"/authorize {answer[0]}, /x 404")


def test_public_paths_that_do_not_answer(host: Host) -> None:
    host.answers["/x"] = OSError("no route")
    assert check.public_paths(PARAMETERS)[1:] == ("fail", "the gateway does not answer: no route")
    assert check.public_paths(PARAMETERS._replace(public_paths=[])) == ("public paths", "ok", "none")


def test_admin_api(host: Host, tmp_path: Path) -> None:
    def row(parameters: configuration.Parameters = PARAMETERS) -> Row:
        return check.admin_api(parameters, host.desired, "7")

    socket_path, beside = tmp_path / "admin/admin.sock", PARAMETERS._replace(config=Path("/etc/caddy/conf.d/nous.caddy"))
    assert row() == ("admin API", "ok", f"{socket_path}, for Caddy's own user alone")
    host.ports = {80, 443, 2019}
    assert row()[1:] == ("fail", "Caddy listens on the TCP ports 80, 443, 2019")
    assert row(beside).status == "ok", "other sites have ports too"
    host.ports = {443}
    assert row(beside).status == "fail"
    host.ports = set()
    assert row()[2] == "Caddy listens on the TCP ports none"
    host.ports = {80, 443}
    (tmp_path / "admin").chmod(0o710)
    assert row()[1:] == ("fail", f"{socket_path} is open to others: drwx--x--- {configuration.USER}")
    (tmp_path / "admin").chmod(0o700)
    socket_path.unlink()
    assert row().status == "fail"
    (tmp_path / "admin").rmdir()
    assert row().status == "fail"


def test_certificate(host: Host) -> None:
    assert check.certificate(PARAMETERS) == ("certificate", "ok", "good for 60.0 days, until the end")
    now = time.time()
    for begin, end, status in ((-80, 13, "warn"), (-80, 15, "ok"), (-9, 1, "warn"), (-7, 3, "ok"), (-90, -1, "warn")):
        host.certificate = probe.Certificate(now + begin * 86400, now + end * 86400, "the end")
        assert check.certificate(PARAMETERS).status == status, (begin, end)
    host.certificate = OSError("certificate has expired")
    assert check.certificate(PARAMETERS) == ("certificate", "fail", "certificate has expired")


@pytest.mark.parametrize(("parameters", "score", "status"), [(1.4, 1.4, "ok"), (1.4, 1.5, "fail"), (1.4, None, "unknown"), (None, 8.8, "warn")])
def test_sandbox(parameters: float | None, score: float | None, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (health, check):
        monkeypatch.setattr(module, "score", lambda _unit: score)
    row = check.sandbox(PARAMETERS._replace(score=parameters))
    assert row[:2] == ("sandbox of caddy.service", status)
    assert str(score) in row.detail


def test_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    last = denials.Denial(0.0, "", "GET", "x", "address")
    found = denials.Denials({f"203.0.113.{number}": (number, last) for number in (9, 8, 7, 6)}, [])
    monkeypatch.setattr(denials, "denied_since", lambda _since: found)
    assert check.denied() == ("denied in the last hour", "ok", "30 requests; most by 203.0.113.9 (9), 203.0.113.8 (8), 203.0.113.7 (7)")
    found = denials.Denials({}, [])
    assert check.denied()[1:] == ("ok", "nobody")
    found = denials.Denials({}, ["denied.log is not a regular file"])
    assert check.denied()[1:] == ("warn", "nobody; not all of the log can be read: denied.log is not a regular file")
