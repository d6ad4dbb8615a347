# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A message by HTTP, to catchers that are down, slow, failing, endless and redirecting: real sockets, no mock."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError, UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.watch import post

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
Answer = Callable[[socket.socket], None]


class Catcher:
    """A server that answers each connection as it is told, and keeps what it got."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.got: list[bytes] = []
        self.answers: list[Answer] = []
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}/topic?key=canary"

    def _serve(self) -> None:
        while True:
            try:
                connection, _peer = self.listener.accept()
            except OSError:
                return
            answer = self.answers.pop(0) if self.answers else lambda one: one.sendall(OK)
            threading.Thread(target=self._one, args=(connection, answer), daemon=True).start()

    def _one(self, connection: socket.socket, answer: Answer) -> None:
        with connection:
            got = b""
            while b"hello" not in got and (block := connection.recv(65536)):
                got += block
            self.got.append(got)
            try:
                answer(connection)
            except OSError:
                return


@pytest.fixture
def catcher() -> Iterator[Catcher]:
    made = Catcher()
    yield made
    made.listener.close()


def fixed(head: str) -> Answer:
    return lambda one: one.sendall(head.encode())


def endless(one: socket.socket) -> None:
    one.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        one.sendall(b"x" * 65536)


def slow(one: socket.socket) -> None:
    for byte in OK:
        one.sendall(bytes([byte]))
        time.sleep(0.3)


def send(url: str, attempts: int = 1, seconds: float = 0.4) -> None:
    post.post(urlsplit(url), "text/plain", b"hello", (0.0,) * attempts, seconds)


def test_a_message_arrives_once(catcher: Catcher) -> None:
    send(catcher.url, attempts=3)
    (got,) = catcher.got
    assert got.startswith(b"POST /topic?key=canary HTTP/1.1\r\n")
    assert b"\r\nHost: 127.0.0.1:" in got
    assert got.endswith(b"hello")


def test_what_is_over_in_a_moment_is_tried_again(catcher: Catcher) -> None:
    catcher.answers = [fixed("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), lambda one: one.close()]
    send(catcher.url, attempts=3)
    assert len(catcher.got) == 3


@pytest.mark.parametrize(
    ("answer", "reason", "times"),
    [
        (fixed("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), "it answers 500", 3),
        (fixed("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"), "it answers 404", 1),
        (fixed("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"), "it answers 302, a redirect, and none is followed", 1),
        (fixed("garbage\r\n\r\n"), "it cannot be reached: it does not speak HTTP", 3),
        (endless, "it cannot be reached: ", 3),
        (slow, "it cannot be reached: ", 3),
    ],
    ids=["500", "404", "redirect", "garbage", "endless", "slow"],
)
def test_a_catcher_that_does_not_take_it(catcher: Catcher, answer: Answer, reason: str, times: int) -> None:
    catcher.answers = [answer] * 3
    with pytest.raises(NousVmError) as raised:
        send(catcher.url, attempts=3)
    assert str(raised.value).startswith(reason)
    assert "canary" not in str(raised.value)
    assert len(catcher.got) == times


def test_a_catcher_that_is_down() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(NousVmError, match="cannot be reached: "):
        send(f"http://127.0.0.1:{port}/canary", attempts=2)


def test_tls_is_verified(catcher: Catcher) -> None:
    with pytest.raises(NousVmError, match="cannot be reached"):
        send(catcher.url.replace("http:", "https:"))
    assert catcher.got == [] or b"canary" not in catcher.got[0]


@pytest.mark.parametrize("given", ["http://192.0.2.1/canary", "ftp://127.0.0.1/canary", "canary", ""])
def test_a_url_that_is_none_is_not_shown(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "alert-url").write_text(given, encoding="utf-8")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(UsageError, match=r"the alert-url is no https URL$"):
        post.url("alert-url")


def test_a_url_is_a_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "alert-url").write_text("https://h.example/x?y\n", encoding="utf-8")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert post.url("alert-url").geturl() == "https://h.example/x?y"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with pytest.raises(UsageError, match="no credential"):
        post.url("alert-url")
