# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of packages, downloaded from a server on the loopback."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build import download
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.pylock import Package, told
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.build.fetching import Ask


class Files(http.server.BaseHTTPRequestHandler):
    """A server with a few files."""

    def do_GET(self) -> None:
        content = b"x" * (5000 if "large" in self.path else 5)
        self.send_response(404 if "absent" in self.path else 200)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as listening:
        threading.Thread(target=listening.serve_forever).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


def wanted(url: str, content: bytes = b"xxxxx") -> Package:
    return Package("dep", "1", "", "dep-1-py3-none-any.whl", url, hashlib.sha256(content).hexdigest())


def test_files_are_downloaded(inside: Ask, server: str, tmp_path: Path) -> None:
    package = wanted(f"{server}/file")
    assert "error" not in inside({"do": "files", "packages": told([package])})
    assert (tmp_path / "got" / package.sha256).read_bytes() == b"xxxxx"


@pytest.mark.parametrize(
    ("path", "words"), [("other", "Hash mismatch for `dep==1`"), ("large", "more than 1000 bytes"), ("absent", "404"), ("/etc/passwd", "begins with neither")]
)
def test_files_that_are_not_taken(inside: Ask, server: str, path: str, words: str) -> None:
    url = f"file://{path}" if path.startswith("/") else f"{server}/{path}"
    done = inside({"do": "files", "packages": told([wanted(url, b"another")])})
    assert words in done["error"] and done["step"] == "Download what it needs"


def test_passwords_are_sent_over_tls_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine x login me password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert download._request("https://x/file").get_header("Authorization") == "Basic bWU6c2VjcmV0"
    assert download._request("http://x/file").get_header("Authorization") is None
    assert download._request("https://y/file").get_header("Authorization") is None
