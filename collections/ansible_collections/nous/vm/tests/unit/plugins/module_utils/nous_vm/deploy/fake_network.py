# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A local proxy and a server, as a deployment sees them."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
import time
from pathlib import Path


class FakeProxy:
    """The part of HAProxy's command line that nous-vm uses, behind a unix socket."""

    def __init__(self, path: Path) -> None:
        self.path, self.paused, self.map, self.in_flight, self.log = path, False, dict[str, str](), 0, list[str]()
        self.silent = self.broken = False
        self.table = ""
        self.listener: socket.socket | None = None

    def start(self) -> None:
        self.path.unlink(missing_ok=True)
        self.listener, self.paused = socket.socket(socket.AF_UNIX), False
        self.map.clear()
        self.listener.bind(str(self.path))
        self.listener.listen(16)
        threading.Thread(target=self.serve, args=(self.listener,), daemon=True).start()

    def stop(self) -> None:
        if self.listener:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:  # it was stopped
                return
            with connection, contextlib.suppress(OSError):  # of a client that is gone
                line = connection.recv(65536).decode().strip()
                if self.silent:
                    time.sleep(0.2)
                    continue
                connection.sendall("".join(f"{self.answer(command.strip())}\n" for command in line.split(";")).encode())

    def answer(self, command: str) -> str:
        self.log.append(command)
        words = command.split()
        if self.broken:
            return "Unknown command.\n"
        if command == "show stat":
            status = "PAUSED" if self.paused else "OPEN"
            return f"# pxname,svname,scur,status,\nnous,FRONTEND,0,{status},\nrequests,nous,{self.in_flight},no check,\nrequests,BACKEND,{self.in_flight},UP,\n"
        if words[:2] == ["show", "table"]:
            return self.table
        if words[:2] == ["show", "map"]:
            return "".join(f"0x1 {key} {value}\n" for key, value in self.map.items())
        if words[:2] == ["clear", "map"]:
            self.map.clear()
        elif words[:2] == ["add", "map"]:
            self.map[words[3]] = words[4]
        elif words[:2] == ["shutdown", "sessions"]:
            self.in_flight = 0
        elif words[1] == "frontend":
            wanted = words[0] == "disable"
            if wanted == self.paused:
                return f"All sockets are already {words[0]}d.\n"
            self.paused = wanted
        return ""


class FakeServer:
    """The server: a release named after what it does (good, other, crash, error, hang) answers so, when the fake systemd has started it."""

    def __init__(self) -> None:
        outer = self
        self.behaviour = "good"

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                outer.reply(self)

            def do_GET(self) -> None:
                outer.reply(self)

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.http.server_address[1]}"

    def reply(self, request: http.server.BaseHTTPRequestHandler) -> None:
        if self.behaviour == "trickle":
            self.trickle(request)
            return
        status, headers, body = self.answer(request.command)
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    def trickle(self, request: http.server.BaseHTTPRequestHandler) -> None:
        """Answer a byte at a time, for ever."""
        with contextlib.suppress(OSError):
            while self.behaviour == "trickle":
                request.wfile.write(b"H")
                time.sleep(0.05)

    def answer(self, method: str) -> tuple[int, dict[str, str], bytes]:
        if self.behaviour == "error":
            return 500, {}, b"broken on purpose"
        if self.behaviour == "open":
            return 200, {"Content-Type": "text/event-stream"}, b'event: message\ndata: {"result": {}}\n\n'
        if self.behaviour == "odd":
            return (401, {"WWW-Authenticate": "Bearer"}, b"") if method == "POST" else (200, {}, b"[]")
        if method == "GET":
            return 200, {}, b'{"resource": "https://nous.example.org"}'
        return 401, {"WWW-Authenticate": "Bearer realm=x"}, b""
