# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nous.vm.connect lets one client in from the controller: it prints what the client gets, waits for it, and fails with the host's own sentence."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import REPOSITORY, Host

COMMAND = ["ansible-playbook", "playbooks/connect.yml", "-i", "inventories/local", "-e", "nous_vm_client=test"]
PRINTED = {"link": "link", "client_id": "client ID", "client_secret": "client secret"}


class Connecting:
    """A run of the playbook, until it waits for the client. details: what it printed for it."""

    def __init__(self) -> None:
        environment = os.environ | {"ANSIBLE_NOCOLOR": "1"}
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        self.process = subprocess.Popen(COMMAND, cwd=REPOSITORY, env=environment, text=True, **pipes)  # type: ignore[call-overload]
        self.text, self.details = "", dict[str, str]()
        for line in self.process.stdout:
            self.text += line
            self.details |= {name: match[1] for name, words in PRINTED.items() if (match := re.fullmatch(rf"\s*{words}: (\S+)\n", line))}
            if line.startswith("TASK [Wait for "):
                break

    def end(self) -> str:
        """Return all that it printed."""
        self.text += self.process.stdout.read()
        self.process.wait()
        return self.text


@pytest.fixture
def closed(host: Host) -> Iterator[Host]:
    """The host without an enrolment, before and after."""
    host.run("nous-vm", "clients", "close")
    yield host
    host.run("nous-vm", "clients", "close")


def test_a_client_is_let_in(closed: Host, tmp_path: Path) -> None:
    playbook = Connecting()
    assert playbook.details.keys() == PRINTED.keys(), playbook.text
    details = tmp_path / "details.json"
    details.write_text(json.dumps(playbook.details), encoding="utf-8")
    argv: list[str | Path] = [sys.executable, REPOSITORY / "tests/clients/mcp_client.py", "https://nous.localhost", "note", '{"text": "connected"}']
    argv += ["--address", "127.0.80.8", "--ca", REPOSITORY / ".cache/local/ca.crt", "--enrol", f"cat {shlex.quote(str(details))}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    text = playbook.end()
    assert done.returncode == 0, done.stdout + done.stderr + text
    assert playbook.process.returncode == 0, text
    assert re.search("- .?test .* enrolled ", text.partition("TASK [Print who may use")[2]), text


def test_it_fails_if_an_enrolment_is_open(closed: Host) -> None:
    closed.run("nous-vm", "clients", "enrol", "another", "--detach")
    playbook = Connecting()
    text = " ".join(playbook.end().split())
    assert playbook.process.returncode != 0
    assert "nous-vm clients enrol: an enrolment is open; wait for it, or close it: sudo nous-vm clients close" in text
    assert playbook.details == {}


def test_it_fails_if_the_enrolment_is_closed_while_it_waits(closed: Host) -> None:
    playbook = Connecting()
    closed.run("nous-vm", "clients", "close")
    text = " ".join(playbook.end().split())
    assert playbook.process.returncode != 0
    assert "test is not in: it got no token, /authorize is closed, and the clients are those from before" in text
    assert "Traceback" not in text


def test_it_fails_with_its_words_if_the_command_that_waits_is_killed(closed: Host) -> None:
    playbook = Connecting()
    closed.run("timeout", "60", "sh", "-c", "until pkill --signal KILL --full 'nous-vm[ ]clients wait'; do :; done")
    text = " ".join(playbook.end().split())
    assert playbook.process.returncode != 0
    assert "nous-vm clients wait on nous.localhost printed no outcome (exit code -9: non-zero return code); sudo nous-vm clients list shows who is in" in text
