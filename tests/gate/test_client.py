"""A public MCP client, through the gateway, to the stand-in for nous."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, Host
from wire import HOST, OPERATOR, STRANGER, VENDOR

CLIENT = REPOSITORY / "tests/clients/mcp_client.py"
STAND_IN = REPOSITORY / "tests/standin/src"
Call = Callable[[str, str], tuple[int, dict[str, Any], str]]  # source and browser; exit code, what was seen, errors


@pytest.fixture
def call(host: Host, tmp_path: Path) -> Iterator[Call]:
    """Put the stand-in where the server of the other tests was, and return what calls its tool from an address, with the browser at another."""
    environment = {"PYTHONPATH": str(STAND_IN), "PYTHONDONTWRITEBYTECODE": "1", "NOUS_HOME": str(tmp_path), "NOUS_TRANSPORT": "http"}
    environment |= {"NOUS_OAUTH_ENABLED": "true", "NOUS_OAUTH_ISSUER": f"https://{HOST}", "PATH": os.environ["PATH"]}
    authority = tmp_path / "root.crt"
    authority.write_text(host.sh("cat /var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt") + "\n", encoding="ascii")
    host.backend.stop()
    with host.network.entered():
        server = subprocess.Popen([sys.executable, "-m", "nous", "serve"], env=environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert server.stderr
    try:
        output = next((line for line in server.stderr if "Uvicorn running on" in line), "")
        assert output

        def run(source: str, browser: str) -> tuple[int, dict[str, Any], str]:
            where = ["--address", "127.0.0.1", "--source-address", source, "--browser-source", browser, "--ca", str(authority)]
            with host.network.entered():
                done = subprocess.run(
                    [sys.executable, CLIENT, f"https://{HOST}", "note", '{"text": "hello"}', *where], capture_output=True, text=True, check=False
                )
            return done.returncode, json.loads(done.stdout), done.stderr

        yield run
    finally:
        server.terminate()
        server.wait()
        host.backend.start()


@pytest.mark.parametrize("source", [VENDOR, OPERATOR])
def test_listed_client_and_a_browser_from_anywhere(call: Call, source: str) -> None:
    code, seen, output = call(source, STRANGER)
    assert code == 0, output
    assert "hello" in json.dumps(seen["result"])
    paths = [path for _method, path, _status in seen["requests"]]
    assert {"/", "/.well-known/oauth-protected-resource", "/.well-known/oauth-authorization-server", "/register", "/authorize", "/token"} <= set(paths)


def test_a_client_that_is_not_listed_gets_nowhere(call: Call) -> None:
    code, seen, output = call(STRANGER, VENDOR)
    assert code == 1
    assert "answered 403" in output
    assert "result" not in seen
