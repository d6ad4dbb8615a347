# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
import yaml
from ansible.parsing.vault import EncryptedString
from ansible_collections.nous.vm.plugins.filter.public import FilterModule as Plugin
from ansible_collections.nous.vm.plugins.filter.public import options
from ansible_collections.nous.vm.plugins.plugin_utils.role import ROLES
from ansible_collections.nous.vm.plugins.plugin_utils.validation import ROLES as FOLDER

public = t.cast("t.Callable[..., dict[str, object]]", Plugin().filters()["public"])
ENCRYPTED = EncryptedString(ciphertext="$ANSIBLE_VAULT;1.1;AES256\n00")


class Lazy(dict[str, object]):
    """Variables of which some must not be evaluated."""

    def __getitem__(self, name: str) -> object:
        if (value := super().__getitem__(name)) is ...:
            raise AssertionError(f"{name} was evaluated")
        return value


def test_the_variables_of_roles_alone() -> None:
    given = {"nous_service_keep_releases": 3, "backup_repository": "/srv/backups", "ansible_host": "192.0.2.1", "nous_vm_hosts": "nous"}
    assert public(given) == {"backup_repository": "/srv/backups", "nous_service_keep_releases": 3}


@pytest.mark.parametrize(
    "name", ["backup_password", "backup_environment", "backup_ssh_key", "backup_variables", "host_watch_alert_url", "nous_service_secrets"]
)
def test_what_is_secret_as_a_whole_is_not_even_evaluated(name: str) -> None:
    assert public(Lazy({name: ..., "nous_service_keep_releases": 3})) == {"nous_service_keep_releases": 3}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("python_runtime_index_url", "https://token@mirror.example.org/simple/", id="token-in-url"),
        pytest.param("nous_service_environment", {"A": "x", "B_URL": "https://me:secret@example.org/"}, id="one-of-several"),
        pytest.param("nous_service_environment", {"x_password": "x"}, id="name-inside"),
        pytest.param("nous_service_launcher", ["venv/bin/x", "-----BEGIN PRIVATE KEY-----"], id="in-a-list"),
        pytest.param("nous_service_issuer", ENCRYPTED, id="vault"),
        pytest.param("nous_service_settings", {"NOUS_PROFILE": ENCRYPTED}, id="vault-inside"),
    ],
)
def test_what_has_a_secret_in_it_is_left_out_as_a_whole(name: str, value: object) -> None:
    assert public({name: value, "nous_service_keep_releases": 3}) == {"nous_service_keep_releases": 3}


def test_no_option_that_a_role_calls_secret_is_known() -> None:
    """The tables, which this is made of, have every no_log of the argument specifications, which people read."""
    for role in ROLES:
        document = yaml.safe_load((FOLDER / role / "meta/argument_specs.yml").read_text(encoding="utf-8"))
        specification = document["argument_specs"]["main"]["options"]
        secret = {name for name, option in specification.items() if option.get("no_log")}
        assert not secret & options().keys()
        for name, option in specification.items():
            inner = {key for key, each in option.get("options", {}).items() if each.get("no_log")}
            assert inner == {key for key, each in options().get(name, {"options": {}})["options"].items() if each["no_log"]} or name not in options()
