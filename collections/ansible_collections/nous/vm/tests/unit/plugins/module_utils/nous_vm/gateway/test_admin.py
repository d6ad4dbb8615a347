# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What does Caddy serve, by its admin API?"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import ForeignError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import admin
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed


class Peer:
    """A unix socket that answers once."""

    def __init__(self, path: Path) -> None:
        self.path, self.answer, self.request = path, b"", b""
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(1)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        connection = self.listener.accept()[0]
        with connection:
            self.request = connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(self.answer) + self.answer)


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    made = Peer(tmp_path / "admin.sock")
    yield made
    made.listener.close()


def test_served(peer: Peer) -> None:
    peer.answer = b'{"admin": {}}'
    assert admin.served(peer.path) == {"admin": {}}
    head = peer.request.decode()
    assert head.startswith("GET /config/ HTTP/1.1\r\n")
    assert "\r\nHost: \r\n" in head, "Caddy 2.6 takes no other name"


def test_a_caddy_that_serves_nothing(peer: Peer) -> None:
    peer.answer = b"null\n"
    with pytest.raises(ForeignError):
        admin.served(peer.path)


def test_answers(peer: Peer, tmp_path: Path) -> None:
    peer.answer = b'{"admin": {}}'
    assert admin.answers(peer.path)
    assert not admin.answers(tmp_path / "absent.sock")


def test_no_caddy(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        admin.served(tmp_path / "absent.sock")


@pytest.mark.parametrize(("printed", "expected"), [(b'{"apps": {}}', {"apps": {}}), (b"", {}), (b"null", {}), (b"not JSON", {})])
def test_desired(printed: bytes, expected: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin, "run", lambda *_arguments, **_options: Completed(0, printed, b""))
    assert admin.desired() == expected


@pytest.mark.parametrize(
    ("known", "path"),
    [
        ({}, "/run/caddy/admin.sock"),
        ({"admin": None}, "/run/caddy/admin.sock"),
        ({"admin": {"listen": "unix//var/lib/caddy/admin.sock"}}, "/var/lib/caddy/admin.sock"),
        ({"admin": {"listen": "unix//var/lib/caddy/admin.sock|0600"}}, "/var/lib/caddy/admin.sock"),
    ],
)
def test_socket_of(known: dict[str, object], path: str) -> None:
    assert admin.socket_of(known) == Path(path)
