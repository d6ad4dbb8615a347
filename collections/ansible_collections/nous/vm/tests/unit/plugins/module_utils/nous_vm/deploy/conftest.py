# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the deployment share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import transient
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.commands import pause as pause_command
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.commands import resume as resume_command
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.commands import traffic as traffic_command
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy.operations import deploy
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.names import names
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fakes import Host, fake_host
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.shell import MODULES, Shell


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host on which nothing was deployed yet."""
    with fake_host(tmp_path, monkeypatch) as host:
        yield host


@pytest.fixture
def host(bare: Host) -> Host:
    """A host whose current release is good."""
    assert deploy(bare.service(), bare.build("good"), again=False)["reason"] is None
    return bare


@pytest.fixture
def shell(host: Host, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    made = Shell(host, capsys)
    for module in MODULES:
        monkeypatch.setattr(module, "service", lambda: host.service(**made.changes))
    monkeypatch.setattr(transient, "run", lambda argv, **_options: made.unit([str(each) for each in argv]))
    known = names()._replace(proxy_admin=host.proxy.path)
    for module in (pause_command, resume_command, traffic_command):
        monkeypatch.setattr(module, "names", lambda: known)
    monkeypatch.setattr("ansible_collections.nous.vm.plugins.module_utils.nous_vm.names.names", lambda: known)
    yield made
