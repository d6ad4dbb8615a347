"""docs/connect.md, followed with mcp-remote from npm; the browser is an HTTP client."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from conftest import REPOSITORY, Host, only_full
from test_client import enrolling  # noqa: F401 - a fixture
from wire import HOST, OPERATOR, STRANGER, Answer

VERSION = "0.15.1"
# The name leads to the host, and the client comes from the operator's address.
THERE = f"""
const net = require("net"), connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...given) {{
  const [options, ...rest] = Array.isArray(given[0]) ? given[0] : given;
  if (options && options.host === "{HOST}") Object.assign(options, {{host: "127.0.0.1", localAddress: "{OPERATOR}"}});
  return Array.isArray(given[0]) ? connect.call(this, given[0]) : connect.call(this, options, ...rest);
}};
"""


@pytest.fixture(scope="module")
def mcp_remote() -> Path:
    folder = REPOSITORY / ".cache/mcp-remote"
    if not shutil.which("npm"):
        pytest.fail("mcp-remote is of npm: install nodejs and npm")
    subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, f"mcp-remote@{VERSION}"], check=True, capture_output=True)
    (folder / "there.cjs").write_text(THERE, encoding="ascii")
    return folder


def browse(host: Host, url: str, cookie: str = "") -> Answer:
    """Ask for a page of the gateway, as a browser at nobody's address."""
    return host.client.ask(STRANGER, url.removeprefix(f"https://{HOST}"), *([f"Cookie: {cookie}"] if cookie else []))


@only_full("needs npm")
def test_mcp_remote_connects(enrolling: Host, mcp_remote: Path, tmp_path: Path) -> None:  # noqa: F811 - the fixture
    details = json.loads(enrolling.sh("nous-vm clients enrol mcp-remote --detach --json"))
    info = tmp_path / "client.json"
    info.write_text(json.dumps({key: details[key] for key in ("client_id", "client_secret", "token_endpoint_auth_method")}), encoding="ascii")
    info.chmod(0o600)
    (tmp_path / "ca.crt").write_text(enrolling.sh("cat /var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt") + "\n", encoding="ascii")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "NODE_EXTRA_CA_CERTS": str(tmp_path / "ca.crt"), "BROWSER": "none"}
    environment |= {"NODE_OPTIONS": f"--require {mcp_remote / 'there.cjs'}", "MCP_REMOTE_CONFIG_DIR": str(tmp_path)}
    argv = [mcp_remote / "node_modules/.bin/mcp-remote", details["url"], "3334", "--static-oauth-client-info", f"@{info}"]
    with enrolling.network.entered():
        client = subprocess.Popen(argv, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert client.stdin
    assert client.stdout
    assert client.stderr
    try:
        with ended_after(client, 60):
            printed = []
            url = ""
            for line in client.stderr:
                printed.append(line)
                if found := re.search(rf"https://{HOST}/authorize[?]\S+", line):
                    url = found[0]
                    break
            assert url, printed
            threading.Thread(target=client.stderr.read, daemon=True).start()
            assert browse(enrolling, url).status == 403, "not without the link"
            assert browse(enrolling, details["link"]).status == 200
            cookie = browse(enrolling, f"{details['link']}&confirm=yes").headers["set-cookie"].partition(";")[0]
            answer = browse(enrolling, url, cookie)
            assert answer.status == 302
            with enrolling.network.entered(), contextlib.closing(http.client.HTTPConnection("localhost", 3334, timeout=15)) as back:
                target = urlsplit(answer.headers["location"])
                back.request("GET", f"{target.path}?{target.query}")
                assert back.getresponse().status == 200
            for message in MESSAGES:
                client.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
            client.stdin.flush()
            answers = [json.loads(client.stdout.readline()) for message in MESSAGES if "id" in message]
    finally:
        client.kill()
        client.wait()
    assert "hello" in json.dumps(answers[-1]), answers
    assert json.loads(enrolling.sh("nous-vm clients wait --timeout 20 --json"))["state"] == "enrolled"


ABOUT = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "tests", "version": "1"}}
MESSAGES: list[dict[str, Any]] = [
    {"id": 1, "method": "initialize", "params": ABOUT},
    {"method": "notifications/initialized"},
    {"id": 2, "method": "tools/call", "params": {"name": "note", "arguments": {"text": "hello"}}},
]


@contextlib.contextmanager
def ended_after(process: subprocess.Popen[str], seconds: float) -> Iterator[None]:
    """Kill a process that takes longer, whose output then ends."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
