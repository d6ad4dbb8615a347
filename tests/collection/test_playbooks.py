# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbooks do on the controller alone: no host, and wherever they are called from."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
COLLECTION = REPOSITORY / "collections/ansible_collections/nous/vm"
PLAYBOOKS = sorted(path.stem for path in (COLLECTION / "playbooks").glob("*.yml"))
INVENTORY = """[nous]
nous.example.org caddy_gateway_hostname=nous.example.org caddy_gateway_operator_cidrs='["203.0.113.7/32"]'
[nous:vars]
nous_vm_collection=nous.vm:==1.0.0
"""


@pytest.fixture(autouse=True)
def configuration(tmp_path: Path) -> None:
    """A configuration without anything, because operators have none of this repository's."""
    (tmp_path / "ansible.cfg").touch()


def play(playbook: str, inventory: Path, *arguments: str, cwd: Path, pwd: str | None = None) -> tuple[int, str]:
    """Run a playbook of the collection; return the exit code and its output, without line breaks."""
    own = {"ANSIBLE_CONFIG": str(inventory.parent / "ansible.cfg"), "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / "collections"), "ANSIBLE_NOCOLOR": "1"}
    environment = {name: value for name, value in os.environ.items() if name != "PWD"} | own | ({"PWD": pwd} if pwd else {})
    argv = ["ansible-playbook", playbook if "/" in playbook else f"nous.vm.{playbook}", "-i", str(inventory), *arguments]
    done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize("playbook", [name for name in PLAYBOOKS if name != "new"])  # which writes an inventory
def test_no_host_is_a_failure_with_a_sentence(playbook: str, tmp_path: Path) -> None:
    (tmp_path / "inventory").write_text("[nous]\n[others]\na.example.org\n", encoding="utf-8")
    code, printed = play(playbook, tmp_path / "inventory", cwd=tmp_path)
    assert code != 0
    assert 'nous_vm_hosts is "nous", which no host of the inventory matches; allowed is' in printed


def test_a_misspelt_pattern_is_named(tmp_path: Path) -> None:
    (tmp_path / "inventory").write_text(INVENTORY, encoding="utf-8")
    code, printed = play("verify", tmp_path / "inventory", "-e", "nous_vm_hosts=nuos", cwd=tmp_path)
    assert code != 0
    assert 'nous_vm_hosts is "nuos", which no host' in printed


@pytest.mark.parametrize("pwd", [None, "/nowhere"])
def test_user_data_is_written_beside_the_inventory(tmp_path: Path, pwd: str | None) -> None:
    """Whatever $PWD is: unset in a unit, stale in a shell whose folder was moved."""
    (tmp_path / "inventory").write_text(INVENTORY, encoding="utf-8")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code, printed = play("cloud_init", tmp_path / tmp_path / "inventory", cwd=elsewhere, pwd=pwd)
    assert code == 0, printed
    assert (tmp_path / "user-data/nous.example.org.yml").stat().st_mode & 0o777 == 0o600
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ("nous_vm_user_data=user-data", 'nous_vm_user_data is "user-data"; allowed is the absolute path of a folder on this controller'),
        (
            "nous_service_source=archive nous_service_archive=nous.tar.gz nous_vm_archive_url=https://x/nous.tar.gz",
            'nous_service_archive is "nous.tar.gz"; allowed is an absolute path on this controller',
        ),
    ],
)
def test_relative_paths_of_the_controller_are_rejected(tmp_path: Path, variables: str, sentence: str) -> None:
    (tmp_path / "inventory").write_text(INVENTORY, encoding="utf-8")
    code, printed = play("cloud_init", tmp_path / "inventory", "-e", variables, cwd=tmp_path)
    assert code != 0
    assert sentence in printed.replace('\\"', '"')


def test_what_the_inventory_says_of_a_join_wins(tmp_path: Path) -> None:
    """site.yml joins the roles in the vars of its play, which Ansible holds above any inventory."""
    site = yaml.safe_load((REPOSITORY / "collections/ansible_collections/nous/vm/playbooks/site.yml").read_text(encoding="utf-8"))
    joins = {name: value for name, value in site[1]["vars"].items() if not name.startswith("nous_vm_")}
    assert len(joins) >= 10
    look = {"ansible.builtin.debug": {"msg": "{{ item }} is {{ lookup('ansible.builtin.vars', item) }}."}, "loop": list(joins)}
    play = {"hosts": "all", "connection": "local", "gather_facts": False, "vars": site[1]["vars"] | {"nous_vm_present": True}, "tasks": [look]}
    (tmp_path / "look.yml").write_text(json.dumps([play]), encoding="utf-8")
    others = {name: f"joined {name}" for value in joins.values() for name in re.findall(r"\w+_\w+", value)}  # as the roles' defaults
    inventory = {"all": {"vars": others, "hosts": {"own": {name: f"own-{name}" for name in joins}}}}
    (tmp_path / "inventory.yml").write_text(json.dumps(inventory), encoding="utf-8")
    argv = ["ansible-playbook", "look.yml", "--inventory=inventory.yml"]
    environment = os.environ | {
        "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / "collections"),
        "ANSIBLE_NOCOLOR": "1",
    }
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert sorted(re.findall(r"(\w+) is own-\1\.", done.stdout)) == sorted(joins), done.stdout + done.stderr


def test_no_secret_is_among_the_variables_of_a_backup(tmp_path: Path) -> None:
    """Neither what a role calls secret, nor what looks like it: they are written to a file, and a diff shows that."""
    (site,) = [play for play in yaml.safe_load((COLLECTION / "playbooks/site.yml").read_text(encoding="utf-8")) if "backup_variables" in play.get("vars", {})]
    given = {
        "backup_repository": "/srv/backups",
        "backup_password": "canary",
        "host_watch_alert_url": "https://alerts.example.org/canary",
        "nous_service_secrets": {"NOUS_API_KEY": "canary"},
        "python_runtime_index_url": "https://canary@mirror.example.org/simple/",
        "nous_service_keep_releases": 3,
    }
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "roles").symlink_to(COLLECTION / "roles")
    (tmp_path / "inventory").write_text(yaml.safe_dump({"nous": {"hosts": {"nous.example.org": given}}}), encoding="utf-8")
    tasks = [{"ansible.builtin.debug": {"msg": "{{ backup_variables | to_json(sort_keys=true) }}"}}]
    document = [{"hosts": "nous", "connection": "local", "gather_facts": False, "vars": site["vars"], "tasks": tasks}]
    (tmp_path / "playbooks/known.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    code, printed = play(str(tmp_path / "playbooks/known.yml"), tmp_path / "inventory", cwd=tmp_path)
    assert code == 0, printed
    assert "canary" not in printed
    assert '"backup_repository": "/srv/backups", "nous_service_keep_releases": 3' in printed.replace("\\", "")
