"""Clients of the whole site, of many addresses: load.py SECONDS prints in JSON how many requests were answered, by status, and how others failed."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
import time
from collections import Counter

HOST, PATH = "nous.example.org", "/.well-known/oauth-authorization-server"
CLIENTS, PAUSE, PATIENCE = 8, 0.25, 60.0  # how many at once, seconds between two requests of one, and for an answer
ADDRESSES = 20  # of a client, in turn: one alone may not ask as often
REQUEST = f"GET {PATH} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
TLS = ssl._create_unverified_context()  # noqa: S323 - whose certificate it is, other tests look at


def ask(address: str) -> str:
    """Return what became of one request: a status, or how it failed."""
    try:
        with (
            socket.create_connection(("127.0.0.1", 443), PATIENCE, (address, 0)) as plain,
            TLS.wrap_socket(plain, server_hostname=HOST) as connection,
        ):
            connection.sendall(REQUEST)
            words = connection.recv(1 << 16).split(b" ", 2)
            return words[1].decode() if len(words) > 1 else "no answer"
    except ConnectionRefusedError:
        return "connection refused"
    except OSError as error:
        return type(error).__name__


def client(number: int, until: float, found: Counter[str]) -> None:
    turn = 0
    while time.monotonic() < until:
        found[ask(f"127.0.{number + 1}.{turn % ADDRESSES + 1}")] += 1
        turn += 1
        time.sleep(PAUSE)


if __name__ == "__main__":
    seen: Counter[str] = Counter()
    end = time.monotonic() + float(sys.argv[1])
    clients = [threading.Thread(target=client, args=(number, end, seen)) for number in range(CLIENTS)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    sys.stdout.write(json.dumps(seen) + "\n")
