# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server name in the first message of TLS, as real clients send it and as hostile ones do."""

from __future__ import annotations

import ssl

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.egress.hello import message, server_name
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.egress.request import Denied

NAME = "api.anthropic.com"


def hello_of(name: str | None) -> bytes:
    """Return what Python's own client sends first."""
    context, received, sent = ssl.create_default_context(), ssl.MemoryBIO(), ssl.MemoryBIO()
    context.check_hostname = name is not None
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(received, sent, server_hostname=name).do_handshake()
    return sent.read()


def with_extensions(*extensions: tuple[int, bytes]) -> bytes:
    """Return a first message with these extensions."""
    listed = b"".join(kind.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body for kind, body in extensions)
    return b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0" + len(listed).to_bytes(2, "big") + listed


def names(*found: tuple[int, str]) -> tuple[int, bytes]:
    listed = b"".join(bytes([form]) + len(name).to_bytes(2, "big") + name.encode() for form, name in found)
    return 0, len(listed).to_bytes(2, "big") + listed


def records(content: bytes, size: int) -> bytes:
    """Return a message in records of so many bytes."""
    parts = [content[start : start + size] for start in range(0, len(content), size)]
    return b"".join(b"\x16\3\1" + len(part).to_bytes(2, "big") + part for part in parts)


def test_a_real_client() -> None:
    found = message(hello_of(NAME))
    assert found is not None
    assert server_name(found) == NAME


@pytest.mark.parametrize("size", [1, 3, 4, 5, 100])
def test_in_as_many_records_as_it_takes(size: int) -> None:
    """A name that is cut in two is one."""
    sent = hello_of(NAME)[5:]
    assert message(records(sent, size)) == sent[4:]
    assert message(records(sent, size)[:-1]) is None


def test_byte_by_byte() -> None:
    sent = hello_of(NAME)
    assert [message(sent[:size]) for size in range(len(sent))] == [None] * len(sent)


@pytest.mark.parametrize(
    "content",
    [
        b"GET / HTTP/1.1\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"GET",
        b"\x16\2\0\0\5hello",
        b"\x16\3\1\0\0",
        b"\x16\3\1\xff\xff",
        b"\x15\3\1\0\2\1\0",
        records(b"\2\0\0\1x", 9),
        records(b"\1\xff\xff\xff", 9),
    ],
)
def test_what_is_no_tls(content: bytes) -> None:
    with pytest.raises(Denied) as denied:
        message(content)
    assert denied.value.kind == "tls"


@pytest.mark.parametrize(
    ("extensions", "kind"),
    [
        ([], "server name"),
        ([names()], "server name"),
        ([names((0, NAME), (0, "evil.example.org"))], "server name"),
        ([names((0, NAME)), names((0, "evil.example.org"))], "server name"),
        ([names((0, NAME)), (0xFE0D, b"x")], "server name"),
        ([(0, b"")], "tls"),
        ([(0, b"\0\5\0\0\x20x")], "tls"),
    ],
)
def test_a_name_that_is_none_or_not_alone(extensions: list[tuple[int, bytes]], kind: str) -> None:
    with pytest.raises(Denied) as denied:
        server_name(with_extensions(*extensions))
    assert denied.value.kind == kind


def test_a_client_without_a_name() -> None:
    found = message(hello_of(None))
    with pytest.raises(Denied, match="no server name"):
        server_name(found or b"")


def test_a_name_of_another_form_is_not_the_one() -> None:
    assert server_name(with_extensions(names((1, NAME)))) == ""


def test_a_message_that_ends_early() -> None:
    with pytest.raises(Denied, match="cut short"):
        server_name(b"\3\3")
