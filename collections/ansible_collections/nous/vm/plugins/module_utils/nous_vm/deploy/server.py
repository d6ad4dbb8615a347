# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server: its unit, and whether it answers."""

from __future__ import annotations

import json
import time
from typing import Any

from ..errors import ForeignError
from ..foreign import printable
from ..names import Names
from ..peers import Answer, ask, in_network_of
from ..systemd import is_active, journal, show, systemctl

METADATA = "/.well-known/oauth-protected-resource"
POLL = 0.05  # seconds between two looks
PATIENCE = 5.0  # seconds a running server gets to answer before it counts as hung, for all that it is asked at a time
STOP_WAIT = 60.0  # seconds a unit that uses the database gets to end, beyond the drain
INITIALIZE = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "nous-vm", "version": "1"}}


class Server:
    """The server's unit and its address."""

    def __init__(self, names: Names, address: str, host: str, drain: float) -> None:
        self.names = names
        self.unit = names.server
        self.address, self.host = address, host
        self.drain = drain
        self.since = time.time()

    def state(self) -> dict[str, str]:
        """Return what systemd says of the unit."""
        return show(self.unit, "ActiveState", "NRestarts", "MainPID")

    def is_active(self) -> bool:
        """Tell whether the unit runs."""
        return is_active(self.unit)

    def has_process(self) -> bool:
        """Tell whether the server's process is there."""
        return int(self.state().get("MainPID") or 0) != 0

    def _ask(self, pid: int, method: str, path: str, body: bytes | None, deadline: float) -> Answer:
        """Ask the server in its own network, which no other process is in."""
        headers = {"Host": self.host, "Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
        address, port = self.address.rsplit(":", 1)
        connect = in_network_of(pid, address, int(port))
        return ask(connect, method, path, headers=headers, body=body, timeout=max(deadline - time.monotonic(), 0.1), first_event=True)

    def unhealthy(self, state: dict[str, str]) -> str | None:
        """Begin an MCP session; return why the server is not ready, None if it is. Nobody signs in: a single client may be all it takes."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": INITIALIZE}).encode()
        pid, deadline = int(state.get("MainPID") or 0), time.monotonic() + PATIENCE
        if pid == 0:
            return f"{self.unit} does not run"
        try:
            answer = self._ask(pid, "POST", "/", body, deadline)
            if answer.status == 200 and "result" in document(answer):
                return None
            if answer.status != 401 or not answer.headers.get("www-authenticate", "").startswith("Bearer"):
                return f"{self.address} answers {answer.status} to an MCP initialize"
            answer = self._ask(pid, "GET", METADATA, None, deadline)
        except (OSError, ForeignError) as error:
            return f"{self.address} does not answer: {printable(str(error))}"
        healthy = answer.status == 200 and "resource" in document(answer)
        return None if healthy else f"{self.address} answers {answer.status} to {METADATA}"

    def stop(self, at_start: bool = False) -> None:
        """Let calls end and stop all that may use the database, the timer after the server that upholds it.

        At the server's start it waits for this: stopping would undo that.
        """
        if not at_start or self.is_active():
            systemctl("stop", self.unit, timeout=self.drain + STOP_WAIT)
        # One by one: of several, systemctl stops none if there is no such unit as one of them.
        for unit in (self.names.flush_timer, self.names.flush, self.names.migrate, self.names.copy):
            systemctl("stop", unit)
        if self.has_process():
            raise OSError(f"{self.unit} does not stop")

    def start(self) -> None:
        """Start the unit, whose earlier crashes are no reason to wait."""
        self.since = time.time()
        systemctl("reset-failed", self.unit)
        systemctl("start", self.unit)

    def log(self) -> list[str]:
        """Return the last lines that the unit, or systemd about it, wrote since it was started."""
        return journal(f"--unit={self.unit}", since=self.since)


def document(answer: Answer) -> dict[str, Any]:
    """Return the JSON object in an answer, an empty one if there is none."""
    try:
        return answer.json()
    except ForeignError:
        return {}
