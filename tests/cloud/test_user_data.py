# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is rendered, and what is rejected. Every case is a host of the same inventory, because a run costs more than a host."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from controller import play, sh

from .conftest import NAME

COMMIT = "0123456789abcdef0123456789abcdef01234567"
KEY = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"


def rendered(work: Path, name: str = NAME) -> str:
    return (work / "user-data" / f"{name}.yml").read_text(encoding="utf-8")


def rejections(text: str) -> dict[str, str]:
    """Return why each host was rejected."""
    return {found[1]: found[2] for found in re.finditer(r"^fatal: \[(\S+)\]: FAILED! => (.*)$", text, re.MULTILINE)}


def test_rendered_twice_it_is_the_same(inventory: dict[str, Any], tmp_path: Path) -> None:
    first = play("cloud_init", {NAME: inventory}, tmp_path)
    assert " failed=0 " in first, first
    text = rendered(tmp_path)
    assert stat.S_IMODE((tmp_path / "user-data" / f"{NAME}.yml").stat().st_mode) == 0o600
    assert len(text) < 16384, "EC2 takes no more"
    assert " changed=0 " in play("cloud_init", {NAME: inventory}, tmp_path)
    assert rendered(tmp_path) == text


def test_what_is_rendered(inventory: dict[str, Any], tmp_path: Path) -> None:
    release = tmp_path / "nous.tar.gz"
    release.write_bytes(b"release")
    own = {"ssh_authorized_keys": ["ssh-ed25519 AAAA me"], "runcmd": [["touch", "/mine"]], "write_files": [{"path": "/mine too", "content": "a\nb\n"}]}
    hosts: dict[str, dict[str, Any]] = {
        "own": {"nous_vm_cloud_config": own, "nous_service_settings": {"NOUS_POLICY": "guarded"}, "other": 1},
        "archive": {"nous_service_source": "archive", "nous_service_archive": str(release), "nous_vm_archive_url": "https://files.example.org/a.tar.gz"},
        "left-out": {"nous_service_secrets": {"NOUS_DB_URL": "sqlite:////very-secret"}, "nous_vm_leave_out": ["nous_service_secrets"]},
        "git": {"nous_vm_collection": f"git+https://git.example.org/nous.vm,{COMMIT}", "nous_vm_collection_sha256": ""},
        "galaxy": {"nous_vm_collection": "nous.vm:==1.0.0", "nous_vm_collection_sha256": ""},
    }
    printed = play("cloud_init", {name: inventory | variables for name, variables in hosts.items()}, tmp_path)
    assert rejections(printed) == {}

    found = yaml.safe_load(rendered(tmp_path, "own"))
    assert found["ssh_authorized_keys"] == own["ssh_authorized_keys"]
    assert found["runcmd"][0] == ["touch", "/mine"]
    files = {file["path"]: file for file in found["write_files"]}
    assert files["/mine too"]["content"] == "a\nb\n"
    variables = yaml.safe_load(files["/etc/nous-vm/first-boot.yml"]["content"])["nous"]["hosts"]["own"]
    assert variables["nous_service_settings"] == {"NOUS_POLICY": "guarded"}
    assert variables["caddy_gateway_hostname"] == NAME
    assert [name for name in variables if name in ("other", "nous_vm_collection")] == []

    assert sh("sha256sum", release).split()[0] in rendered(tmp_path, "archive")
    assert str(tmp_path) not in rendered(tmp_path, "archive")
    assert "very-secret" not in rendered(tmp_path, "left-out")
    assert f'"git+https://git.example.org/nous.vm,{COMMIT}"' in rendered(tmp_path, "git")
    assert '"nous.vm:==1.0.0"' in rendered(tmp_path, "galaxy")


@pytest.fixture
def vaulted(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "password").write_text("correct horse", encoding="utf-8")
    printed = sh("ansible-vault", "encrypt_string", "--vault-password-file", tmp_path / "password", "battery staple")
    return {"__ansible_vault": re.sub(r"(?s)^.*(\$ANSIBLE_VAULT)", r"\1", printed).replace(" ", "")}


def test_a_secret_is_rejected(inventory: dict[str, Any], tmp_path: Path, vaulted: dict[str, Any]) -> None:
    cases: dict[str, tuple[str, dict[str, Any]]] = {
        "no-log": ("nous_service_secrets.NOUS_ANTHROPIC_API_KEY", {"nous_service_secrets": {"NOUS_ANTHROPIC_API_KEY": "very-secret"}}),
        "key": ("nous_service_settings.NOUS_SCENARIO", {"nous_service_settings": {"NOUS_SCENARIO": KEY}}),
        "url": ("python_runtime_index_url", {"python_runtime_index_url": "https://me:very-secret@mirror.example.org/simple/"}),
        "proxy": ("python_runtime_environment.HTTPS_PROXY", {"python_runtime_environment": {"HTTPS_PROXY": "http://me:very-secret@proxy:3128"}}),
        "password": ("nous_vm_cloud_config.password", {"nous_vm_cloud_config": {"password": "very-secret"}}),
        "vault": ("caddy_gateway_acme_email", {"caddy_gateway_acme_email": vaulted}),
    }
    hosts = {name: inventory | variables for name, (_option, variables) in cases.items()}
    printed = play("cloud_init", hosts, tmp_path, "--vault-password-file", str(tmp_path / "password"))
    rejected = rejections(printed)
    for name, (option, _variables) in cases.items():
        assert f"{option} of {name} is secret, and user-data can be read by" in rejected[name]
        assert "nous_vm_leave_out" in rejected[name]
        assert "nous_vm_secrets_command" in rejected[name]
    assert "very-secret" not in printed
    assert not (tmp_path / "user-data").exists()


def test_what_cannot_work_is_rejected(inventory: dict[str, Any], tmp_path: Path) -> None:
    cases: dict[str, tuple[str, dict[str, Any]]] = {
        "branch": ('is \\"git+https://example.org/x,main\\"; allowed is one exact version', {"nous_vm_collection": "git+https://example.org/x,main"}),
        "nothing": ('nous_vm_collection is \\"\\"; allowed is one exact version', {"nous_vm_collection": ""}),
        "checksum": ("together with nous_vm_collection_sha256", {"nous_vm_collection_sha256": ""}),
        "version": ('nous_vm_collection is \\"nous.vm\\"; allowed is one exact version', {"nous_vm_collection": "nous.vm"}),
        "ansible": ('nous_vm_ansible_lock is \\"/etc/hostname\\"; allowed is the absolute path', {"nous_vm_ansible_lock": "/etc/hostname"}),
        "archive": ("allowed is a nous_vm_archive_url where the host gets the same file", {"nous_service_source": "archive", "nous_service_archive": "/a"}),
        "spec": ("value of nous_service_source must be one of: git, archive, index, got: floppy", {"nous_service_source": "floppy"}),
        "type": ("nous_vm_cloud_config", {"nous_vm_cloud_config": "users"}),
    }
    rejected = rejections(play("cloud_init", {name: inventory | variables for name, (_sentence, variables) in cases.items()}, tmp_path))
    for name, (sentence, _variables) in cases.items():
        assert sentence in rejected[name]
    assert not (tmp_path / "user-data").exists()
