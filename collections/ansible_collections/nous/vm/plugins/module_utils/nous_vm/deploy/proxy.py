# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local proxy: HAProxy between the socket that the gateway uses and the server.

Paused, it accepts no connection, so that clients wait in the socket, which is systemd's and outlasts the proxy. It is paused by `disable frontend`, because
HAProxy before 2.8.6 can deadlock and be killed by its watchdog after `set maxconn frontend ... 0` (HAProxy issue 2726).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from pathlib import Path

from ..pause import Reason

FRONTEND, BACKEND, SERVER = "nous", "requests", "nous"
CALLS = "answered"  # the table in which proxy.d/50-nous.cfg counts the calls of tools
REJECT = "/etc/nous-vm/proxy.d/reject.map"  # what proxy.d/50-nous.cfg looks for a rejection in: the seconds after which to try again
RETRY = 30  # seconds after which a client may try again, of a rejection without an end
ANSWER = 1.2  # seconds that the proxy gets to answer, twice: less than a command around the server's stop may take
LIMIT = 1 << 20  # bytes of an answer
POLL, SLOW_POLL, SOON = 0.01, 0.1, 1.0  # seconds between two looks at the requests under way, at first and after so many seconds


class Proxy:
    """The local proxy, by its admin socket. Every failure is an OSError."""

    def __init__(self, admin: Path | str) -> None:
        self.admin = str(admin)

    def command(self, text: str) -> str:
        """Have the proxy do something and return its answer; once more, if the host was too slow for it."""
        try:
            return self._exchange(text)
        except TimeoutError:
            return self._exchange(text)

    def _exchange(self, text: str) -> str:
        deadline, answer = time.monotonic() + ANSWER, b""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(ANSWER)
            admin.connect(self.admin)
            admin.sendall(f"{text}\n".encode())
            while block := admin.recv(65536):
                answer += block
                left = deadline - time.monotonic()
                if left <= 0 or len(answer) > LIMIT:
                    raise TimeoutError(f"{self.admin} did not end its answer")
                admin.settimeout(left)
        return answer.decode("utf-8", "replace")

    def apply(self, reasons: Sequence[Reason]) -> None:
        """Pause traffic, reject it or let it flow, whichever the reasons ask for. One that rejects outdoes those that pause."""
        rejecting = [each for each in reasons if each.reject]
        if rejecting:
            seconds = max(int(each.until - time.time()) if each.until else RETRY for each in rejecting)
            self._ordered(f"clear map {REJECT}", f"add map {REJECT} all {max(seconds, 1)}", f"enable frontend {FRONTEND}")
        elif reasons:
            self._ordered(f"disable frontend {FRONTEND}", f"clear map {REJECT}")
        else:
            self._ordered(f"clear map {REJECT}", f"enable frontend {FRONTEND}")

    def _ordered(self, *commands: str) -> None:
        """Run commands, whose answers are empty unless they fail or there is nothing to do."""
        answer = self.command("; ".join(commands))
        complaints = [line for line in answer.splitlines() if line and not line.startswith("All sockets are already")]
        if complaints:
            raise OSError(f"{self.admin}: {complaints[0]}")

    def close(self) -> None:
        """Accept nothing more, whatever the reasons are: the proxy is about to be stopped."""
        self._ordered(f"disable frontend {FRONTEND}")

    def traffic(self) -> str:
        """Return what happens to requests: "flows", "paused", or "rejected"."""
        if "PAUSED" in self._stat(FRONTEND, "FRONTEND", "status"):
            return "paused"
        return "rejected" if self.command(f"show map {REJECT}").strip() else "flows"

    def in_flight(self) -> int:
        """Return how many requests the server is answering; event streams, which last, are not among them."""
        return sum(map(int, self._stat(BACKEND, "BACKEND", "scur")))

    def calls(self) -> tuple[int, int]:
        """Return how many calls of tools were answered since the proxy was started, and how many are under way. Raises ValueError if it does not count them."""
        head, *rows = self.command(f"show table {CALLS}").strip().splitlines() or [""]
        if not head.startswith(f"# table: {CALLS}"):
            raise ValueError(f"{self.admin}: {head or 'no answer'}")
        fields = dict(word.split("=", 1) for row in rows for word in row.split() if "=" in word)
        return int(fields.get("gpc0", 0)), int(fields.get("conn_cur", 0))

    def _stat(self, proxy: str, side: str, name: str) -> list[str]:
        head, *rows = [line.split(",") for line in self.command("show stat").removeprefix("# ").splitlines() if line]
        return [row[head.index(name)] for row in rows if row[:2] == [proxy, side]]

    def drain(self, seconds: float) -> None:
        """Wait until the requests under way have ended, so many seconds at most."""
        begun = time.monotonic()
        while self.in_flight() and (waited := time.monotonic() - begun) < seconds:
            time.sleep(POLL if waited < SOON else SLOW_POLL)

    def cut(self) -> None:
        """End what still waits for a server that is gone: it would reach the candidate, be answered, and be lost when that is rolled back."""
        if self.in_flight():
            self.command(f"shutdown sessions server {BACKEND}/{SERVER}")
