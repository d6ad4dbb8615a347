# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of nous.vm.report: all that hosts say is on it as text, whatever it is, and it loads and runs nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import build
import pytest
from controller import REPOSITORY

PLAYBOOKS = REPOSITORY / build.COLLECTION / "playbooks"
HOSTILE = "<script>document.title='owned'</script><img src=https://evil.example.org/x onerror=alert(1)>\"'&"
PLAY = """
- hosts: all
  connection: local
  gather_facts: false
  tasks:
    - ansible.builtin.template: {src: "%s", dest: "%s", mode: "0600"}
      run_once: true
      vars: {nous_vm_pages: "{{ ansible_play_hosts_all | map('extract', hostvars) | list }}"}
"""


def facts(status: str, detail: str) -> dict[str, Any]:
    """Return what the playbook registered of a host."""
    rows = [{"part": "audit", "name": "guard", "status": status, "detail": detail}]
    lists = [{"rc": 0, "stdout_lines": ["a1b2c3 current", detail]}, {"rc": 0, "stdout_lines": [f"client {detail}"]}, {"rc": 2, "stdout_lines": []}]
    return {
        "nous_vm_check": {"rc": 0, "stdout": json.dumps({"rows": rows})},
        "caddy_gateway_probe": {"row": {"part": "gateway", "name": "gateway from the controller", "status": "ok", "detail": "401"}},
        "nous_vm_lists": {"results": lists},
    }


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    hosts = {"a.example.org": facts("ok", "fine"), "b.example.org": facts("fail", HOSTILE), "c.example.org": {}}
    (folder / "inventory.yml").write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
    (folder / "play.yml").write_text(PLAY % (PLAYBOOKS / "templates/report.html.j2", folder / "report.html"), encoding="utf-8")
    (folder / "ansible.cfg").touch()
    argv = ["ansible-playbook", "play.yml", "-i", "inventory.yml"]
    own = os.environ | {"ANSIBLE_CONFIG": str(folder / "ansible.cfg"), "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
    done = subprocess.run(argv, cwd=folder, env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "report.html"


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_what_hosts_say_is_text(page: Path) -> None:
    found = Tags(page.read_text(encoding="utf-8"))
    assert {tag for tag, _attributes in found.tags} & {"script", "img", "iframe", "link", "object", "form"} == set()
    assert [attributes for _tag, attributes in found.tags if any(name.startswith("on") or name in ("src", "style") for name in attributes)] == []
    assert found.text.count(HOSTILE) == 3  # row, releases, clients
    assert page.stat().st_mode & 0o777 == 0o600


def test_every_host_is_on_it(page: Path) -> None:
    text = " ".join(Tags(page.read_text(encoding="utf-8")).text.split())
    for words in ("a.example.org in its expected state 0, 0, 0", "b.example.org not in its expected state 1, 0, 0", "c.example.org not reached 0, 0, 0"):
        assert words in text
    assert "not on this host" in text


def test_its_policy_lets_nothing_in_but_its_own_style(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    (style,) = re.findall("<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"content=\"default-src 'none'; style-src 'sha256-{digest}'\"" in text


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on this machine: apt-get install chromium")
def test_a_browser_shows_it_and_runs_nothing(page: Path, tmp_path: Path) -> None:
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", f"--user-data-dir={tmp_path}"]
    done = subprocess.run(["chromium", *options, "--dump-dom", page.as_uri()], capture_output=True, text=True, check=True, timeout=120)
    assert "<title>nous.vm: report</title>" in done.stdout
    assert "owned" not in done.stdout.split("<body>")[0]
    assert done.stdout.count("&lt;script&gt;") == 3
