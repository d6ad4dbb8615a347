"""A catcher of alerts on a test host: keeps what it gets in /run/catcher/got, a line each, and answers as the file /run/catcher/mode says.

modes: ok, 500, slow (a byte every 5 s), endless (a header without an end), redirect (to itself, /elsewhere).
"""

from __future__ import annotations

import json
import socketserver
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

FOLDER = Path("/run/catcher")


class Handler(BaseHTTPRequestHandler):
    """One request."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        mode = (FOLDER / "mode").read_text(encoding="ascii").strip()
        with (FOLDER / "got").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"path": self.path, "mode": mode, "body": body}) + "\n")
        if mode == "ok":
            self.send_response(204)
            self.end_headers()
        elif mode == "redirect":
            self.send_response(307)
            self.send_header("Location", "/elsewhere")
            self.end_headers()
        elif mode == "500":
            self.send_error(500)
        else:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
            while True:
                self.wfile.write(b"x" * (65536 if mode == "endless" else 1))
                self.wfile.flush()
                time.sleep(0 if mode == "endless" else 5)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing: the journal is looked at for what must not be in it."""


class Server(socketserver.ThreadingTCPServer):
    """A server that can be started again at once."""

    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    Server(("127.0.0.1", 8099), Handler).serve_forever()
