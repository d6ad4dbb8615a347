# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action validate: all faults at once, values converted once, one probe for all roles, and none where an earlier one serves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible.utils.display import Display
from ansible_collections.nous.vm.plugins.action.validate import ActionModule
from ansible_collections.nous.vm.plugins.plugin_utils.role import ROLES

from .acting import Acting

COLLECTIONS = Path(__file__).parents[7]
ALL = list(ROLES)
VARIABLES = {
    "caddy_gateway_hostname": "nous.example.org",
    "caddy_gateway_operator_cidrs": ["203.0.113.7/32"],
    "nous_service_issuer": "https://{{ caddy_gateway_hostname }}",
}


def logs(files: list[str]) -> dict[str, dict[str, str]]:
    """Return the append-only logs and their directory as the role makes them."""
    about = {"owner": "root", "group": "nous", "mode": "0660"}
    return dict.fromkeys(files, about) | {os.path.dirname(path): about | {"mode": "0750"} for path in files}


def complete(_name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Answer for a host that has all that is asked for."""
    asked = arguments["questions"]
    answers = {
        "failed": {},
        "platform": {"distribution": "Debian", "release": "trixie", "version": "13"},
        "packages": dict.fromkeys(asked["packages"], "1"),
        "accounts": {name: {"uid": 999} for name in asked["accounts"]},
        "groups": dict.fromkeys(asked["groups"], 999),
        "pythons": dict.fromkeys(asked["pythons"], "3.13.5"),
        "units": {name: {"ActiveState": "active"} for name in asked["units"]},
        "calendars": dict.fromkeys(asked["calendars"], ""),
        "elapses": dict.fromkeys(asked["elapses"], 1),
        "space": dict.fromkeys(asked["space"], 4096),
        "matches": dict.fromkeys(asked["matches"], True),
        "flags": dict.fromkeys(asked["flags"], True),
        "ports": {},
        "paths": logs(asked["flags"]),
        "gateway": {"owner": "ours"},
        "server": {"current": "", "source": "", "releases": []},
    }
    return {"changed": False, "answers": answers}


def bare(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Answer for a host without the packages."""
    found = complete(name, arguments)
    found["answers"]["packages"] = {}
    return found


@pytest.fixture(autouse=True)
def a_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A run of ansible-playbook, which has a folder of its own."""
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(folder))
    return folder


@pytest.fixture
def acting(monkeypatch: pytest.MonkeyPatch) -> Acting:
    return Acting(monkeypatch, ActionModule, complete)


def test_values_are_converted_once_and_the_host_is_asked_once(acting: Acting) -> None:
    given = {
        "nous_service_follow": "no",
        "nous_service_ready_timeout": "90",
        "audit_logrotate_files": '["a.log"]',
        "nous_service_settings": "{NOUS_TICK_HZ: 2}",
    }
    found = acting.run({"roles": ALL}, VARIABLES | given)
    values = found["values"]["nous_service"]
    assert (values["nous_service_follow"], values["nous_service_ready_timeout"], values["nous_service_settings"]) == (False, 90, {"NOUS_TICK_HZ": 2.0})
    assert values["nous_service_issuer"] == "https://nous.example.org"
    assert found["values"]["audit_logrotate"]["audit_logrotate_files"] == ["a.log"]
    assert found["values"]["python_runtime"]["python_runtime_uv_home"] == "/opt/uv"
    assert found["derived"]["nous_service"]["database"] == "/var/lib/nous/state.db"
    assert (found["changed"], found["missing_packages"], found["lacking"]) == (False, [], {name: [] for name in ALL})
    assert found["host"]["platform"]["release"] == "trixie"
    ((module, arguments),) = acting.executed
    assert module == "nous.vm.probe"
    assert set(arguments) == {"questions", "key"}


def test_an_adoption_lasts_for_the_roles_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def execute(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        found = bare(name, arguments)
        found["answers"]["bundle"] = {"left": {"/opt/nous": "the bundle's checkout"}}
        return found

    acting = Acting(monkeypatch, ActionModule, execute)
    assert "ansible-playbook nous.vm.adopt" in acting.run({"roles": ["nous_service"]}, VARIABLES)["msg"]
    first = acting.run({"roles": ["nous_service"], "adopt": True}, VARIABLES)
    assert first["host"]["adopt"] is True
    assert "failed" not in acting.run({"roles": ["nous_service"], "earlier": first["identity"]}, VARIABLES)


def test_what_it_returns_is_not_logged_and_is_plain(acting: Acting) -> None:
    found = acting.run({"roles": ["nous_service"]}, VARIABLES | {"nous_service_secrets": {"NOUS_DB_URL": "sqlite:////var/lib/nous/canary"}})
    assert found["_ansible_no_log"] is True
    assert acting.executed[0][1]["key"] not in json.dumps(found)
    json.dumps(found)


def test_all_faults_of_all_roles_come_at_once_and_nothing_is_asked_of_the_host(acting: Acting) -> None:
    wrong = {
        "caddy_gateway_hostname": "https://x",
        "nous_service_user": "root",
        "nous_service_bind": "127.999.0.1:8088",
        "nous_service_ready_timeout": 999999,
        "audit_logrotate_mode": "0000",
        "nous_service_secrets": {"NOUS_DB_URL": "canary\n"},
        "oauth_key_path": "{{ nonesuch }}",
    }
    found = acting.run({"roles": ALL}, VARIABLES | wrong)
    lines = found["msg"].splitlines()
    assert (found["failed"], lines[0], acting.executed) == (True, "7 values cannot be used; nothing was changed.", [])
    assert [line.split()[1] for line in lines[1:]] == [
        "oauth_key_path",
        "audit_logrotate_mode",
        "nous_service_user",
        "nous_service_bind",
        "nous_service_secrets",
        "nous_service_ready_timeout",
        "caddy_gateway_hostname",
    ]
    assert "oauth_key_path cannot be evaluated: 'nonesuch' is undefined" in found["msg"]
    assert "canary" not in found["msg"]
    assert "_ansible_no_log" not in found


def test_what_is_wrong_with_the_host_comes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def execute(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        found = complete(name, arguments)
        found["answers"] |= {"pythons": {"/usr/bin/python3": "3.9.2"}, "ports": {"0.0.0.0:443": "nginx (pid 7)"}}
        return found

    found = Acting(monkeypatch, ActionModule, execute).run({"roles": ALL}, VARIABLES)
    assert found["failed"]
    assert found["msg"].splitlines()[0] == "3 values cannot be used; nothing was changed."
    assert "values" not in found


@pytest.mark.parametrize("answer", [{"failed": True, "msg": "no Python"}, {"unreachable": True, "msg": "gone"}])
def test_a_probe_that_fails_fails_the_task(monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any]) -> None:
    found = Acting(monkeypatch, ActionModule, lambda _name, _arguments: answer).run({"roles": ["oauth_key"]})
    assert (found["failed"], found["msg"]) == (True, answer["msg"])


def test_without_the_host(acting: Acting) -> None:
    found = acting.run({"roles": ["oauth_key"], "probe": False})
    assert (acting.executed, "host" in found, found["values"]["oauth_key"]["oauth_key_size"]) == ([], False, 3072)


@pytest.mark.parametrize("arguments", [{"roles": ["nonesuch"]}, {"roles": ["oauth_key"], "colour": "red"}, {}])
def test_a_call_that_makes_no_sense(acting: Acting, arguments: dict[str, Any]) -> None:
    with pytest.raises(AnsibleActionFail):
        acting.run(arguments)


def test_networks_that_no_call_comes_from_are_a_warning(acting: Acting, monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr(Display, "warning", lambda _self, text, *_more, **_others: warned.append(text))
    found = acting.run({"roles": ["caddy_gateway"]}, VARIABLES | {"caddy_gateway_anthropic_cidrs": "2607:6bc0::/48"})
    assert warned == ["2607:6bc0::/48 is listed, but it is where Anthropic is called, not where it calls from, which is 160.79.104.0/21 and 153.61.208.0/20."]
    assert "warnings" not in found["derived"]["caddy_gateway"]


class TestEarlier:
    def test_it_serves_each_role_once(self, acting: Acting) -> None:
        first = acting.run({"roles": ALL}, VARIABLES)
        for name in ALL:
            again = acting.run({"roles": [name], "earlier": first["identity"]}, VARIABLES)
            assert (again["host"], again["identity"], list(again["values"])) == (first["host"], first["identity"], [name])
            assert {option: again[option] for option in again if option.startswith(name)} == again["values"][name]
        assert len(acting.executed) == 1
        assert acting.run({"roles": ["oauth_key"], "earlier": first["identity"]}, VARIABLES)["identity"] != first["identity"]
        assert len(acting.executed) == 2

    def test_not_with_other_values(self, acting: Acting) -> None:
        first = acting.run({"roles": ALL}, VARIABLES)
        other = acting.run({"roles": ["oauth_key"], "earlier": first["identity"]}, VARIABLES | {"oauth_key_overlap_days": 3})
        assert other["values"]["oauth_key"]["oauth_key_overlap_days"] == 3
        assert len(acting.executed) == 2

    def test_not_for_a_role_that_was_not_among_them(self, acting: Acting) -> None:
        first = acting.run({"roles": ["python_runtime"]}, VARIABLES)
        acting.run({"roles": ["oauth_key"], "earlier": first["identity"]}, VARIABLES)
        assert len(acting.executed) == 2

    def test_not_for_another_host(self, acting: Acting) -> None:
        first = acting.run({"roles": ["oauth_key"]}, {"inventory_hostname": "other"})
        acting.run({"roles": ["oauth_key"], "earlier": first["identity"]})
        assert len(acting.executed) == 2

    def test_not_if_the_host_lacked_something(self, monkeypatch: pytest.MonkeyPatch) -> None:
        acting = Acting(monkeypatch, ActionModule, bare)
        first = acting.run({"roles": ["oauth_key"]})
        assert first["missing_packages"] == first["lacking"]["oauth_key"] == ["python3-cryptography"]
        acting.run({"roles": ["oauth_key"], "earlier": first["identity"]})
        assert len(acting.executed) == 2

    def test_not_of_another_run_though_a_cache_kept_it(self, acting: Acting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        first = acting.run({"roles": ["oauth_key"]})
        monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
        acting.run({"roles": ["oauth_key"], "earlier": first["identity"]})
        assert len(acting.executed) == 2

    @pytest.mark.parametrize("earlier", ["", "../x", "0" * 32])
    def test_not_something_else(self, acting: Acting, earlier: str) -> None:
        acting.run({"roles": ["oauth_key"], "earlier": earlier})
        assert len(acting.executed) == 1


def play(tmp_path: Path, *arguments: str, inventory: str, tasks: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    """Run a playbook against this machine as an operator would, without a probe."""
    (tmp_path / "hosts.ini").write_text(inventory, encoding="utf-8")
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "nous", "gather_facts": False, "connection": "local", "tasks": tasks}]), encoding="utf-8")
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "-i",
        "hosts.ini",
        "play.yml",
        "-e",
        f"ansible_python_interpreter={sys.executable}",
        *arguments,
    ]
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)


SHOWN = "{{ v['values']['nous_service'] | to_json }}"
TASKS: list[dict[str, Any]] = [
    {"nous.vm.validate": {"roles": ["nous_service"], "probe": False}, "register": "v"},
    {"copy": {"dest": "values.json", "content": SHOWN}, "no_log": True},
]


def test_text_from_an_ini_inventory_and_from_the_command_line(tmp_path: Path) -> None:
    inventory = (
        "[nous]\nhost\n[nous:vars]\nnous_service_follow=no\nnous_service_keep_releases=5\n"
        'nous_service_settings={"NOUS_POLICY": "guarded"}\nnous_service_issuer=https://nous.example.org\n'
    )
    tasks = json.loads(json.dumps(TASKS).replace("values.json", str(tmp_path / "values.json")))
    done = play(tmp_path, "-e", "nous_service_constraints=a<1,b<2", inventory=inventory, tasks=tasks)
    assert done.returncode == 0, done.stdout + done.stderr
    values = json.loads((tmp_path / "values.json").read_text(encoding="utf-8"))
    expected = {"follow": False, "keep_releases": 5, "settings": {"NOUS_POLICY": "guarded"}, "constraints": ["a<1", "b<2"]}
    assert {name: values[f"nous_service_{name}"] for name in expected} == expected


def test_no_verbosity_shows_a_secret(tmp_path: Path) -> None:
    inventory = "[nous]\nhost\n[nous:vars]\nnous_service_issuer=https://nous.example.org\n"
    (tmp_path / "secret.json").write_text(json.dumps({"nous_service_secrets": {"NOUS_DB_URL": "sqlite:////var/lib/nous/canary"}}), encoding="utf-8")
    done = play(tmp_path, "-e", "@secret.json", "-vvvvv", inventory=inventory, tasks=TASKS[:1])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "canary" not in done.stdout + done.stderr


def test_a_fault_is_shown_on_a_line_of_its_own(tmp_path: Path) -> None:
    inventory = "[nous]\nhost\n[nous:vars]\nnous_service_user=root\nnous_service_group=root\n"
    done = play(tmp_path, inventory=inventory, tasks=TASKS[:1])
    assert done.returncode != 0
    lines = done.stdout.splitlines() + done.stderr.splitlines()
    for name in ("nous_service_issuer is not set", 'nous_service_user is "root"', 'nous_service_group is "root"'):
        assert any(line.startswith(f"- {name}; allowed is ") for line in lines), done.stdout + done.stderr


def test_a_vault_secret_is_read(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("pw", encoding="utf-8")
    vault = [
        str(Path(sys.executable).with_name("ansible-vault")),
        "encrypt_string",
        "--vault-password-file",
        "password",
        "--name",
        "NOUS_DB_URL",
        "sqlite:////var/lib/nous/canary",
    ]
    encrypted = subprocess.run(vault, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    indented = "".join(f"  {line}\n" for line in encrypted.splitlines())
    (tmp_path / "secret.yml").write_text(f"nous_service_secrets:\n{indented}", encoding="utf-8")
    tasks = json.loads(json.dumps(TASKS).replace("values.json", str(tmp_path / "values.json")))
    inventory = "[nous]\nhost\n[nous:vars]\nnous_service_issuer=https://nous.example.org\n"
    done = play(tmp_path, "-e", "@secret.yml", "--vault-password-file", "password", inventory=inventory, tasks=tasks)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "values.json").read_text(encoding="utf-8"))["nous_service_secrets"] == {"NOUS_DB_URL": "sqlite:////var/lib/nous/canary"}
    assert "canary" not in done.stdout + done.stderr
