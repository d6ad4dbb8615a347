# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The actions inventory and show: what is written for a new host, what is rejected, what is never overwritten."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.nous.vm.plugins.action import inventory, show
from ansible_collections.nous.vm.plugins.plugin_utils import estate

from .acting import Acting

Write = Callable[..., dict[str, Any]]
SSH = "203.0.113.9 50000 192.0.2.1 22"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSH_CONNECTION", SSH)
    monkeypatch.delenv("SSH_CLIENT", raising=False)
    return tmp_path


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch) -> Write:
    acting = Acting(monkeypatch, inventory.ActionModule, lambda *_: {})
    return lambda check=False, **arguments: acting.run({"host": "nous.example.org"} | arguments, check=check)


def test_it_writes_an_inventory_that_says_it_all(folder: Path, write: Write) -> None:
    result = write(user="ops", variables={"caddy_gateway_tls": "internal", "something": "else"})
    assert not result.get("failed"), result
    there = folder / "nous.example.org"
    assert (result["directory"], result["operator"], result["changed"]) == (str(there), "203.0.113.9/32", True)
    assert yaml.safe_load((there / "hosts.yml").read_text()) == {"nous": {"hosts": {"nous.example.org": {"ansible_user": "ops"}}}}
    variables = yaml.safe_load((there / "group_vars/nous.yml").read_text())
    assert variables == {"caddy_gateway_hostname": "nous.example.org", "caddy_gateway_operator_cidrs": ["203.0.113.9/32"], "caddy_gateway_tls": "internal"}
    assert "stdout_callback = nous.vm.brief\n" in (there / "ansible.cfg").read_text()


def test_text_is_written_as_what_it_stands_for(folder: Path, write: Write) -> None:
    result = write(variables={"caddy_gateway_operator_cidrs": "203.0.113.7/32,2001:db8::/48", "caddy_gateway_connection_limits": "no"})
    assert result["operator"] == ""
    variables = yaml.safe_load((folder / "nous.example.org/group_vars/nous.yml").read_text())
    assert variables["caddy_gateway_operator_cidrs"] == ["203.0.113.7/32", "2001:db8::/48"]
    assert variables["caddy_gateway_connection_limits"] is False


def test_nothing_is_overwritten(folder: Path, write: Write) -> None:
    there = folder / "nous.example.org"
    there.mkdir()
    (there / "ansible.cfg").symlink_to("nowhere")
    result = write()
    assert result["failed"]
    assert result["msg"].startswith(f'nous_vm_directory is "{there}", which has ansible.cfg; allowed is a folder without them')
    assert [each.name for each in there.iterdir()] == ["ansible.cfg"]


def test_check_mode_writes_nothing(folder: Path, write: Write) -> None:
    result = write(check=True)
    assert (result["changed"], [each["after_header"] for each in result["diff"]]) == (True, [f"nous.example.org/{name}" for name in result["files"]])
    assert list(folder.iterdir()) == []


def test_all_faults_come_at_once(folder: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_CONNECTION")
    result = write(host="Nous", directory="a/b", variables={"caddy_gateway_tls": "interna", "nous_service_secrets": {"NOUS_DB_URL": "hunter2"}})
    assert result["failed"]
    for sentence in (
        'nous_vm_host is "Nous"; allowed is a full host name',
        "caddy_gateway_operator_cidrs is not set, and you did not come by ssh",
        'caddy_gateway_tls is "interna"; allowed is one of',
        'nous_vm_directory is "a/b"; allowed is the absolute path',
        "nous_service_secrets is secret, and would be written as it is; allowed is",
    ):
        assert f"- {sentence}" in result["msg"]
    assert "hunter2" not in str(result)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("connection", "network"),
    [
        (SSH, "203.0.113.9/32"),
        ("2001:db8::7 1 ::1 22", "2001:db8::7/128"),
        ("::ffff:203.0.113.9 1 ::1 22", "203.0.113.9/32"),
        ("fe80::1%eth0 1 fe80::2%eth0 22", ""),
        ("127.0.0.1 1 127.0.0.1 22", ""),
        ("UNKNOWN", ""),
        ("", ""),
    ],
)
def test_where_the_person_came_from(connection: str, network: str) -> None:
    assert estate.came_from({"SSH_CONNECTION": connection}) == network


def test_a_collection_that_is_elsewhere_is_named() -> None:
    usual = estate.files("nous.example.org", "", {}, estate.USUAL[0])["ansible.cfg"]
    elsewhere = estate.files("nous.example.org", "", {}, Path("/srv/collections"))["ansible.cfg"]
    assert "collections_path" not in usual
    assert "\ncollections_path = /srv/collections\n" in elsewhere


def test_show_bounds_what_it_prints(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    result = Acting(monkeypatch, show.ActionModule, lambda *_: {}).run({"lines": ["x" * 1000, *map(str, range(2000))]})
    assert len(result["lines"]) == show.MOST + 1
    assert (len(result["lines"][0]), result["lines"][-1]) == (show.WIDTH, "... and 1001 lines more")
    assert capsys.readouterr().out.count("\n") == show.MOST + 1
