# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in as a real process on a free loopback port."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import mcp_client
import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src"
START_SECONDS = 30
RUNNING = "Uvicorn running on"


class Server:
    """One process; `log` is what it said on standard error, `python` the interpreter that it runs with."""

    python = sys.executable

    def __init__(self, home: Path, port: int, environment: dict[str, str], source: Path | None = None) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.home = home
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(source or SOURCE),
            "NOUS_HOME": str(home),
            "NOUS_TRANSPORT": "http",
            "NOUS_HTTP_BIND": f"127.0.0.1:{port}",
            "NOUS_OAUTH_ENABLED": "true",
            "NOUS_OAUTH_ISSUER": self.url,
            **environment,
        }
        self.log: list[str] = []
        self.ready = threading.Event()

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        argv = [self.python, "-m", "nous", command]
        return subprocess.run(
            argv,
            check=False,
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
        )

    def spawn(self, stdin: int | None = None, stdout: int | None = None) -> None:
        self.ready.clear()
        self.log.clear()
        self.process = subprocess.Popen(
            [self.python, "-m", "nous", "serve"],
            env=self.environment,
            cwd=self.home,
            stderr=subprocess.PIPE,
            text=True,
            stdin=stdin,
            stdout=stdout,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # whoever runs the tests under nohup has it ignored
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.log.append(line)
            if RUNNING in line:
                self.ready.set()
        self.ready.set()

    def start(self) -> Server:
        self.spawn()
        assert self.ready.wait(START_SECONDS) and any(RUNNING in line for line in self.log), "".join(self.log)
        return self

    def stop(self) -> int:
        self.process.terminate()
        status = self.process.wait(START_SECONDS)
        self.reader.join()
        return status

    def call(self, tool: str, **arguments: Any) -> Any:
        return asyncio.run(mcp_client.call(self.url, tool, arguments))["result"]

    def post(self, headers: dict[str, str] | None = None) -> httpx.Response:
        return httpx.post(self.url, json={}, headers=headers)

    def token(self) -> str:
        """An access token, by hand: register, authorize, exchange."""
        verifier = "v" * 43
        challenge = "7w_YNF9DSfIdPf_pRjSq646_kPr-2-o9NAl16JGghdM"  # its SHA-256, base64url
        client = {"redirect_uris": ["http://localhost:1/"], "token_endpoint_auth_method": "none"}
        client_id = httpx.post(f"{self.url}/register", json=client).json()["client_id"]
        asked = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": "http://localhost:1/",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        location = httpx.URL(httpx.get(f"{self.url}/authorize", params=asked).headers["location"])
        given = {
            "grant_type": "authorization_code",
            "code": location.params["code"],
            "client_id": client_id,
            "redirect_uri": "http://localhost:1/",
            "code_verifier": verifier,
        }
        return str(httpx.post(f"{self.url}/token", data=given).json()["access_token"])


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    made: list[Server] = []

    def make(source: Path | None = None, **environment: str) -> Server:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        made.append(Server(home, port, environment, source))
        return made[-1]

    yield make
    for server in made:
        if hasattr(server, "process"):
            server.process.kill()
            server.process.wait()


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    return make_server().start()
