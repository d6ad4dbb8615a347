# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest
from ansible.parsing.vault import EncryptedString
from ansible_collections.nous.vm.plugins.filter.secrets import FilterModule as Plugin

secrets = t.cast("t.Callable[..., list[str]]", Plugin().filters()["secrets"])
OPTIONS = {
    "shown": {"type": "str"},
    "hidden": {"type": "str", "no_log": True},
    "some": {"type": "dict", "options": {"url": {"type": "str", "no_log": True}, "other": {"type": "str"}}},
    "list": {"type": "list", "elements": "dict", "options": {"key": {"type": "str", "no_log": True}}},
}


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        pytest.param({"hidden": "x"}, ["hidden"], id="no_log"),
        pytest.param({"some": {"url": "x", "other": "y"}}, ["some.url"], id="no_log-inside"),
        pytest.param({"list": [{"key": ""}, {"key": "x"}]}, ["list[1].key"], id="no_log-in-a-list"),
        pytest.param({"b": {"hidden": "x"}, "a_password": 1}, ["a_password"], id="name"),
        pytest.param({"chpasswd": {"users": [{"name": "me", "password": "x"}]}}, ["chpasswd"], id="name-of-all-below"),
        pytest.param({"users": [{"name": "me", "hashed_passwd": "x"}]}, ["users[0].hashed_passwd"], id="name-inside"),
        pytest.param({"ssh_keys": {"ed25519_private": "x", "ed25519_public": "y"}}, ["ssh_keys.ed25519_private"], id="host-key"),
        pytest.param({"shown": "a\n-----BEGIN OPENSSH PRIVATE KEY-----\n"}, ["shown"], id="private-key"),
        pytest.param({"shown": "https://me:secret@example.org/"}, ["shown"], id="password-in-url"),
        pytest.param({"shown": "git+https://token@github.com/x.git"}, ["shown"], id="token-in-url"),
        pytest.param({"shown": "postgresql://nous:secret@db/nous"}, ["shown"], id="database"),
        pytest.param({"shown": EncryptedString(ciphertext="$ANSIBLE_VAULT;1.1;AES256\n00")}, ["shown"], id="vault"),
        pytest.param({"some": {"other": EncryptedString(ciphertext="$ANSIBLE_VAULT;1.1;AES256\n00")}}, ["some.other"], id="vault-inside"),
    ],
)
def test_secret(variables: dict[str, object], names: list[str]) -> None:
    assert secrets(variables, options=OPTIONS) == names


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"hidden": "", "some": {}, "list": []}, id="empty"),
        pytest.param({"shown": "ssh://git@example.org/x.git"}, id="account-of-ssh"),
        pytest.param({"shown": "https://example.org/@me?a=b@c"}, id="at-in-a-path"),
        pytest.param({"shown": "-----BEGIN CERTIFICATE-----"}, id="certificate"),
        pytest.param({"some": {"other": 1, "more": None, "yes": True}}, id="other-types"),
        pytest.param({"nous_vm_secrets_command": ["/bin/x"]}, id="command"),
        pytest.param({"ssh_pwauth": False, "disable_root": True}, id="words"),
    ],
)
def test_not_secret(variables: dict[str, object]) -> None:
    assert secrets(variables, options=OPTIONS) == []
