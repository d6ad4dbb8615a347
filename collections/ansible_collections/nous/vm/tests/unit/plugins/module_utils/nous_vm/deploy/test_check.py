# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of the health check: each can fail, and says what is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import locks, pause
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import check as module
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import traffic
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.health import Row
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.deploy.fakes import NAMES, Host


class Checked:
    """A host and its rows, by their names."""

    def __init__(self, host: Host) -> None:
        self.host, self.verified = host, Completed(0, b"", b"")
        self.states: dict[str, dict[str, str]] = {}
        socket = host.folder / "mcp.sock"
        socket.touch(0o660)
        socket.chmod(0o660)
        self.about: dict[str, Any] = {
            "follow": False,
            "socket": str(socket),
            "socket_group": "root",
            "units": [],
            "credentials": [],
            "private_files": {str(host.files[1]): "0640 root:root"},
            "scores": {NAMES.server: 0.4},
        }
        host.files[1].chmod(0o640)
        host.systemd.enabled.add(NAMES.flush_timer)
        host.systemd.active[NAMES.flush_timer] = True

    def show(self, unit: str, *names: str) -> dict[str, str]:
        shown = self.host.systemd.systemctl(["show", f"--property={','.join(names)}", unit])
        return dict(line.split("=", 1) for line in shown.splitlines()) | self.states.get(unit, {})

    def __getitem__(self, name: str) -> tuple[str, str]:
        return self.rows()[name]

    def rows(self) -> dict[str, tuple[str, str]]:
        return {row.name: (row.status, row.detail) for row in module.check()}


@pytest.fixture
def checked(host: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[Checked]:
    made = Checked(host)
    host.systemd.pid = os.getpid()
    monkeypatch.setattr(module, "HOST_NETWORK", Path("/proc/self/ns/mnt"))  # which is another
    monkeypatch.setattr(module, "service", lambda: host.service(check=made.about))
    monkeypatch.setattr(module, "show", made.show)
    monkeypatch.setattr(module, "run", lambda _argv, **_options: made.verified)
    monkeypatch.setattr(module, "kept", lambda _name, _units, ask: ask())
    monkeypatch.setattr(module, "sandbox", lambda unit, most: Row(f"sandbox of {unit}", "ok", f"0.2, at most {most}"))
    yield made


def test_a_host_that_is_healthy(checked: Checked) -> None:
    rows = checked.rows()
    assert {name: row for name, row in rows.items() if row[0] != "ok"} == {}
    assert {"service", "health", "release", "deployment", "flush timer", "traffic", "restarts of the proxy", "directives", NAMES.proxy} <= rows.keys()


def test_the_server(checked: Checked) -> None:
    checked.host.systemd.order("stop", NAMES.server)
    assert checked["health"] == ("fail", "nous.service does not run")
    assert checked["service"][0] == "fail"
    (checked.host.root / "releases/good/release.json").unlink()
    assert checked["release"] == ("fail", "good, 0 built")


def test_releases_that_are_marked(checked: Checked) -> None:
    """One that a run would not deploy is for a person; one that somebody left, or that failed with other settings, is not."""
    releases, settings = checked.host.service().releases, checked.host.service().generations.settings()
    for name, digest in (("left", None), ("older", "0"), ("bad", settings)):
        releases.mark_failed(checked.host.build(name), f"why {name}", digest, [])
    assert checked["failed releases"] == ("warn", "bad: why bad")
    releases.forgive("bad", settings)
    assert checked["failed releases"] == ("ok", "none blocks a deployment, 2 in all")


def test_a_deployment_that_was_interrupted(checked: Checked) -> None:
    path = checked.host.root / "deployment.json"
    path.write_text('{"step": "stop"}')
    assert checked["deployment"] == ("fail", "interrupted at the step stop; nous-recover.service is inactive (running), and its journal tells why")
    path.write_text("")
    assert "at the step unreadable" in checked["deployment"][1]
    with locks.held("deployment", "deploy x", who="ada"):
        assert checked["deployment"][0] == "ok"
        assert checked["deployment"][1].startswith("ada, deploy x, since")
        path.unlink()
        assert checked["deployment"] == ("ok", "none was interrupted")


def test_traffic(checked: Checked) -> None:
    proxy = checked.host.service().proxy
    traffic.hold(proxy, traffic.OPERATOR, "the disk is replaced")
    assert checked["traffic"][0] == "fail"
    assert checked["traffic"][1].endswith("the disk is replaced; nous-vm resume resumes it")
    pause.clear(traffic.OPERATOR)
    assert checked["traffic"] == ("fail", "paused, and expected is flows (flows); nous-vm traffic has the proxy do what it should")
    traffic.hold(proxy, traffic.DEPLOYMENT, "x")
    assert checked["traffic"][1].endswith("x; nous-vm recover resumes it")
    with locks.held("deployment", "deploy x"):
        assert checked["traffic"][0] == "ok"
    checked.host.proxy.stop()
    assert checked["traffic"][0] == "fail"
    assert "the local proxy does not answer" in checked["traffic"][1]


def test_the_proxy(checked: Checked) -> None:
    checked.states[NAMES.proxy] = {"NRestarts": "2", "ActiveState": "failed"}
    rows = checked.rows()
    assert rows["restarts of the proxy"] == ("warn", "2 by itself since it was started")
    assert rows[NAMES.proxy][0] == "fail"
    Path(checked.about["socket"]).chmod(0o666)
    assert checked["mode of the socket"] == ("fail", "0666 root:root instead of 0660 root:root")


def test_the_way_round_the_gateway(checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOST_NETWORK", Path("/proc/self/ns/net"))
    assert checked["local access"] == ("fail", "the server is in the host's network")
    checked.host.systemd.pid = 0
    assert checked["local access"][0] == "fail"


def test_credentials(checked: Checked) -> None:
    checked.about["credentials"] = ["signing-key"]
    assert checked["credentials"] == ("ok", "signing-key")
    (checked.host.copies / NAMES.server / "signing-key").unlink()
    assert checked["credentials"] == ("fail", "signing-key did not reach the server")
    checked.about["credentials"] = [".."]  # which is there
    checked.host.systemd.pid = os.getpid()
    assert module.credentials(NAMES.server, []) == Row("credentials", "ok", "")


def test_a_branch_that_is_followed(checked: Checked) -> None:
    checked.about["follow"] = True
    rows = checked.rows()
    assert rows["follow timer"] == ("fail", "next never")
    assert rows["newest commit"] == ("unknown", "not looked for yet since boot")
    checked.states[NAMES.follow_timer] = {"ActiveState": "active", "UnitFileState": "enabled", "NextElapseUSecRealtime": "soon"}
    checked.states[NAMES.follow] = {"ActiveState": "activating"}
    assert checked["newest commit"] == ("unknown", "is being looked for")
    assert checked["follow timer"] == ("ok", "next soon")
    for result, status, expected in (("success", "0", "ok"), ("exit-code", "1", "warn"), ("exit-code", "2", "fail")):
        checked.states[NAMES.follow] = {"Result": result, "ExecMainStatus": status, "ExecMainExitTimestamp": "then"}
        assert checked["newest commit"] == (expected, "a line of the journal, at then")


def test_directives_that_systemd_does_not_know(checked: Checked) -> None:
    unit = checked.host.folder / "x.service"
    unit.write_text("[Service]\nShielded=yes\n")
    checked.verified = Completed(1, f"{unit}:2: Unknown key 'Shielded' in section [Service], ignoring.\n".encode(), b"")
    assert checked["directives"] == ("warn", "ignored by this systemd: Shielded")
    checked.verified = Completed(127, b"", b"")
    assert checked["directives"] == ("unknown", "systemd-analyze verify ended with 127")


def test_what_a_build_planted_hangs_and_breaks_nothing(checked: Checked) -> None:
    """A build may write what it likes into a folder of its own: a FIFO, an empty object, control characters."""
    releases = checked.host.service().releases
    for name in ("fifo", "empty", "odd", "list"):
        (checked.host.root / "releases" / name).mkdir()
    os.mkfifo(checked.host.root / "releases/fifo/failed.json")
    (checked.host.root / "releases/empty/failed.json").write_text("{}")
    (checked.host.root / "releases/list/failed.json").write_text("[]")
    (checked.host.root / "releases/odd/failed.json").write_text(json.dumps({"reason": "\x1b[2J", "settings": None, "journal": ["\x9b"]}))
    assert releases.failed().keys() == {"odd"}
    assert releases.failure("fifo", "") == {}
    found = releases.failure("odd", "")
    assert found["reason"].isprintable()
    assert found["journal"] == ["\\x9b"]
    (checked.host.root / "releases/link").symlink_to("good")
    assert releases.built() == ["good"]
