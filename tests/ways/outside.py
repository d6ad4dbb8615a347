"""The world outside of a test host, in a network of its own: a fake of the API with TLS, and a record of every packet that comes there.

outside.py INTERFACE FOLDER: writes FOLDER/ready when it serves, and FOLDER/packets, a line for each kind of packet, the first time that it is seen.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import socket
import ssl
import struct
import sys
import threading
from pathlib import Path

ANSWER = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "fake",
    "content": [{"type": "text", "text": "through"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}


class Api(http.server.BaseHTTPRequestHandler):
    """Answers every message in the same way."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


def record(interface: str, path: Path) -> None:
    """Write down what comes in: protocol, address and port."""
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    sniffer.bind((interface, 0))
    seen = set()
    with path.open("w") as file:
        while True:
            packet, (_name, kind, direction, *_rest) = sniffer.recvfrom(2048)
            if direction == socket.PACKET_OUTGOING or kind != 0x0800:  # ARP, and IPv6's search for neighbours
                continue
            head = (packet[0] & 15) * 4
            port = struct.unpack("!H", packet[head + 2 : head + 4])[0]
            what = f"{packet[9]} {socket.inet_ntoa(packet[16:20])}:{port}"
            if what not in seen:
                seen.add(what)
                file.write(f"{what}\n")
                file.flush()


def main() -> None:
    interface, folder = sys.argv[1], Path(sys.argv[2])
    threading.Thread(target=record, args=[interface, folder / "packets"], daemon=True).start()
    server = http.server.ThreadingHTTPServer(("", 443), Api)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "api.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    (folder / "ready").touch()
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()


main()
