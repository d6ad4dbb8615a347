# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""New connections wait for a reload, and a reload for the old ones."""

from __future__ import annotations

import os
import pwd
import select
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import admin, configuration, reload
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.network import Listener
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "SETTLE", 0.0)
    monkeypatch.setattr(reload, "DRAIN", 0.2)


@pytest.fixture
def caddy() -> Iterator[socket.socket]:
    """A socket that listens as Caddy's do."""
    with socket.socket() as made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(("127.0.0.1", 0))
        made.listen()
        yield made


def waits(listener: socket.socket, seconds: float = 0.2) -> bool:
    return bool(select.select([listener], [], [], seconds)[0])


def test_a_socket_beside_caddy_s_gets_all_new_connections(caddy: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the kernel's own filter, and none of Caddy's."""
    monkeypatch.setattr(reload, "_as_caddy", socket.socket)
    address = caddy.getsockname()
    with reload.beside(Listener(socket.inet_aton(address[0]), address[1]), 1) as ours:
        clients = [socket.create_connection(address) for _client in range(20)]
        accepted = 0
        while waits(ours):
            ours.accept()[0].close()
            accepted += 1
        assert accepted == len(clients)
        assert not waits(caddy, 0)
    with socket.create_connection(address):
        assert waits(caddy, 5), "and when it is closed, Caddy's gets them again"
    for client in clients:
        client.close()


class Socket:
    """Remembers what is done to it, because a host may have no IPv6."""

    def __init__(self, family: int) -> None:
        self.family, self.options, self.bound, self.closed = family, list[tuple[int, int]](), ("", 0), False

    def setsockopt(self, level: int, option: int, _value: object) -> None:
        self.options.append((level, option))

    def bind(self, address: tuple[str, int]) -> None:
        self.bound = address
        if address[1] == 1:
            raise OSError("taken")

    def listen(self, _backlog: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        self.closed = True


def test_of_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Socket] = []

    def remembered(family: int) -> Socket:
        made.append(Socket(family))
        return made[-1]

    monkeypatch.setattr(reload, "_as_caddy", remembered)
    reload.beside(Listener(bytes(16), 443), 1)
    assert (made[0].family, made[0].bound) == (socket.AF_INET6, ("::", 443))
    assert (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) in made[0].options
    assert not made[0].closed
    with pytest.raises(OSError, match="taken"):
        reload.beside(Listener(bytes(16), 1), 1)
    assert made[1].closed


def test_a_socket_is_made_as_caddy_and_root_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(os, "seteuid", seen.append)
    monkeypatch.setattr(pwd, "getpwnam", lambda name: pwd.struct_passwd((name, "x", 998, 998, "", "/", "/")))
    reload._as_caddy(socket.AF_INET).close()
    with pytest.raises(OSError):
        reload._as_caddy(-5)
    assert seen == [998, 0, 998, 0]


def line(port: int, queue: str, inode: str) -> list[str]:
    return ["0:", f"0100007F:{port:04X}", "00000000:0000", "01", f"00000000:{queue}", "", "", "0", "0", inode]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], False),
        ([line(443, "00000001", "7")], True),
        ([line(443, "00000001", "5")], False),
        ([line(443, "00000001", "0")], False),
        ([line(443, "00000000", "7")], False),
        ([line(8443, "00000001", "7")], False),
        ([line(80, "0000002A", "7"), line(443, "00000001", "5")], True),
    ],
)
def test_behind(lines: list[list[str]], expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """5 is a socket of ours; what has no number yet is in its queue."""
    monkeypatch.setattr(reload, "tables", lambda: iter(lines))
    assert reload.behind({"5"}) is expected


class Caddy:
    """A Caddy whose old sockets go away some questions after it took a configuration."""

    def __init__(self) -> None:
        self.code, self.stays, self.calls, self.identity = 0, 2, list[Sequence[str]](), dict[str, Any]()

    def listeners(self, user: str) -> dict[str, Listener]:
        assert user == "caddy"
        if self.calls and self.stays:
            self.stays -= 1
        return {"socket:[1]": Listener(b"\0\0\0\0", 443)} if self.stays else {"socket:[2]": Listener(b"\0\0\0\0", 443)}

    def run(self, argv: Sequence[str], timeout: float, **identity: Any) -> Completed:
        self.calls.append(argv)
        self.identity = identity
        return Completed(self.code, b"", b"INFO\nError: bind: address already in use\n" if self.code else b"")


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Caddy:
    made = Caddy()
    (tmp_path / "migrates").write_text("1\n", encoding="ascii")
    monkeypatch.setattr(reload, "MIGRATES", tmp_path / "migrates")
    monkeypatch.setattr(reload, "listeners", made.listeners)
    monkeypatch.setattr(reload, "run", made.run)
    monkeypatch.setattr(reload, "behind", lambda _ours: False)
    monkeypatch.setattr(reload, "beside", lambda *_where: socket.socket())
    monkeypatch.setattr(admin, "desired", lambda: {"admin": {"listen": "unix//run/x.sock"}})
    return made


def test_reload(host: Caddy) -> None:
    assert reload.reload() == ("", "")
    assert host.stays == 0, "it waits until the old server is gone"
    assert host.calls == [[str(configuration.CADDY), "reload", "--config", str(configuration.CADDYFILE), "--address", "unix//run/x.sock", "--force"]]
    assert host.identity == {"user": "caddy", "group": "caddy", "extra_groups": []}


def test_a_configuration_that_caddy_rejects(host: Caddy) -> None:
    host.code = 1
    assert reload.reload() == ("caddy reload failed: Error: bind: address already in use", "")


@pytest.mark.parametrize("setting", ["0\n", None])
def test_where_connections_cannot_be_held_back_it_is_a_plain_reload(host: Caddy, setting: str | None) -> None:
    if setting is None:
        reload.MIGRATES.unlink()
    else:
        reload.MIGRATES.write_text(setting, encoding="ascii")
    done = reload.reload()
    assert done.fault == "" and done.note.startswith("A plain reload, because new connections cannot be held back: ")
    assert len(host.calls) == 1


def test_it_waits_for_what_came_before_but_not_for_ever(host: Caddy, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[set[str]] = []

    def behind(ours: set[str]) -> bool:
        asked.append(ours)
        return True

    monkeypatch.setattr(reload, "behind", behind)
    host.stays = 10**9
    assert reload.reload().fault == ""
    assert len(asked) > 2 and len(asked[0]) == 1
