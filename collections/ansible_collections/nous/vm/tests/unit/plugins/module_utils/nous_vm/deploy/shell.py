# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nous-vm on a host: what a command ended with and printed."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import cli, systemd
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.commands import backup, recover, releases, releases_show, restart, restore, rollback
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.commands import deploy as deploy_command
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fakes import Host

MODULES = (backup, deploy_command, recover, releases, releases_show, restart, restore, rollback)


class Done(NamedTuple):
    """What a command ended with and printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


class Shell:
    """The host, and nous-vm on it; what runs in a unit of its own runs here at once."""

    def __init__(self, host: Host, capsys: pytest.CaptureFixture[str]) -> None:
        self.host, self.capsys, self.changes = host, capsys, dict[str, Any]()
        self.after = Completed(0, json.dumps({"changed": False}).encode(), b"")
        host.systemd.unit = self.unit

    def __call__(self, *words: str) -> Done:
        self.capsys.readouterr()
        with pytest.MonkeyPatch.context() as process:  # each command is one of its own
            process.setattr(systemd, "_remembered", None)
            code = cli.main(list(words))
        return Done(code, *self.capsys.readouterr())

    def unit(self, argv: list[str]) -> Completed:
        words = argv[argv.index("/usr/local/sbin/nous-vm") + 1 :]
        done = self(*words)
        return Completed(done.code, done.out.encode() + self.after.stdout, done.err.encode())
