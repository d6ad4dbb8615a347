# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a client means to talk to by TLS: the server name in its first message. Without this, who is let out to one site of a large host reaches them all."""

from __future__ import annotations

from .request import Denied

MOST = 16384  # bytes of the first message, in as many records as it takes
HANDSHAKE, CLIENT_HELLO = 22, 1
SERVER_NAME, ENCRYPTED_HELLO = 0, 0xFE0D
RECORD, MESSAGE = 5, 4  # bytes of a head


class Bytes:
    """Bytes that are read from their beginning; raise Denied where there are too few."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def take(self, count: int) -> bytes:
        if len(self.content) < count:
            raise Denied("tls", "the first message is cut short")
        found, self.content = self.content[:count], self.content[count:]
        return found

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def block(self, count: int) -> Bytes:
        """Take what follows a length of so many bytes."""
        return Bytes(self.take(self.number(count)))


def message(content: bytes) -> bytes | None:
    """Return the first message of TLS in what was received so far, None while it is not complete; raise Denied if it is none."""
    found = b""
    while len(content) >= RECORD:
        kind, major, size = content[0], content[1], int.from_bytes(content[3:5], "big")
        if kind != HANDSHAKE or major != 3 or not 0 < size <= MOST:
            break
        part = content[RECORD:][:size]
        found += part
        if len(found) >= MESSAGE:
            wanted = MESSAGE + int.from_bytes(found[1:4], "big")
            if found[0] != CLIENT_HELLO or wanted > MOST:
                break
            if len(found) >= wanted:
                return found[MESSAGE:wanted]
        if len(part) < size:
            return None
        end = RECORD + size
        content = content[end:]
    else:
        if not content or content[0] == HANDSHAKE:
            return None
    raise Denied("tls", "the client does not begin with TLS")


def server_name(hello: bytes) -> str:
    """Return the server name in a client's first message; raise Denied if there is none, or more, or one that nobody can read."""
    reader = Bytes(hello)
    reader.take(34)  # version, random
    for size in (1, 2, 1):  # session, cipher suites, compression
        reader.block(size)
    extensions, found = reader.block(2), []
    while extensions.content:
        kind, body = extensions.number(2), extensions.block(2)
        if kind == ENCRYPTED_HELLO:
            raise Denied("server name", "the first message is encrypted")
        if kind == SERVER_NAME:
            names = body.block(2)
            while names.content:
                form, name = names.number(1), names.block(2).content
                found.append(name.decode("ascii", "replace") if form == 0 else "")
    if len(found) != 1:
        raise Denied("server name", f"the first message has {len(found) or 'no'} server name{'s' if len(found) > 1 else ''}")
    return found[0].lower()
