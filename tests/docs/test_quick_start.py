# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The quick start, played literally: its commands, in their order, in one shell, against a bare container as the VM, until a client has called a tool.

What a reader has and this machine has not is in one file beside the inventory, EXTRA: an address instead of DNS, an authority without DNS, a key for ssh, and
a stand-in server instead of a repository that cannot be reached from here. The transcript is .cache/quick-start.txt.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from bare import Bare, bare
from clone import clone as made
from container import docker
from controller import REPOSITORY
from forms import Form

FORM = Form(os.environ.get("NOUS_VM_DOCS") == "full", "make docs-full")
pytestmark = FORM.only_full("it takes as long as a first run on a new host")
PAGE = REPOSITORY / "docs/quick_start.md"
COMMANDS = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
NAME = "nous-vm-quick-start"
EXTRA = """
ansible_host: {address}
ansible_ssh_private_key_file: {key}
ansible_ssh_common_args: -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no
caddy_gateway_tls: internal
caddy_gateway_operator_cidrs: ["{client}/32"]
nous_service_source: archive
nous_service_archive: {archive}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    subprocess.run([REPOSITORY / "tests/standin/pack.py", tmp_path / "nous-1.0.0.tar.gz"], check=True)
    return tmp_path


@pytest.fixture
def host(folder: Path) -> Iterator[Bare]:
    with bare(NAME, folder) as made:
        yield made


def test_the_quick_start(folder: Path, host: Bare) -> None:
    made(folder / "nous.vm")
    home = folder / "home"
    home.mkdir()
    extra = EXTRA.format(address=host.address, client=host.gateway, key=host.key, archive=folder / "nous-1.0.0.tar.gz")
    install, new, run, connect = COMMANDS
    # As a person has it: the folder above the checkout, whose ansible.cfg is not theirs.
    steps = [install, new]
    steps += [f"cp {folder}/extra.yml group_vars/all.yml", "sed -i /operator_cidrs/,+1d group_vars/nous.yml", run]
    (folder / "extra.yml").write_text(extra, encoding="utf-8")
    own = {"HOME": str(home), "ANSIBLE_NOCOLOR": "1", "PS4": "$ "}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "SSH_"))} | own
    script = "set -eux\n" + "\n".join(steps)
    done = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    transcript = REPOSITORY / ".cache/quick-start.txt"
    transcript.parent.mkdir(exist_ok=True)
    transcript.write_text(done.stdout, encoding="utf-8")
    assert done.returncode == 0, done.stdout[-8000:]
    estate = folder / "nous.example.org"
    ca = docker("exec", NAME, "cat", "/var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt")
    (folder / "ca.crt").write_text(ca + "\n", encoding="ascii")
    with transcript.open("a", encoding="utf-8") as file:
        waiting = subprocess.Popen(["bash", "-euxc", connect], cwd=estate, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert waiting.stdout
        shown: dict[str, str] = {}
        for line in waiting.stdout:
            file.write(line)
            if found := re.fullmatch(r"\s*(link|URL|client ID|client secret): (\S+)\s*", line):
                shown[found[1]] = found[2].strip("'\"")
            if len(shown) == 4:
                break
        assert len(shown) == 4
        (folder / "enrolment.json").write_text(
            json.dumps({"link": shown["link"], "url": shown["URL"], "client_id": shown["client ID"], "client_secret": shown["client secret"]}), encoding="utf-8"
        )
        call = [sys.executable, str(REPOSITORY / "tests/clients/mcp_client.py"), "https://nous.example.org", "note", '{"text": "hello"}']
        options = ["--address", host.address, "--ca", str(folder / "ca.crt"), "--enrol", f"cat {folder}/enrolment.json"]
        called = subprocess.run([*call, *options], capture_output=True, text=True, check=False)
        file.write(f"{called.stdout}{called.stderr}{waiting.stdout.read()}")
    assert called.returncode == 0, called.stdout + called.stderr
    assert waiting.wait() == 0, transcript.read_text(encoding="utf-8")[-4000:]
