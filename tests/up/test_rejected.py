# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operator can get wrong is rejected in one sentence, before anything on the host is changed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from .conftest import Host, play

# Rules on values alone are shown by the unit tests of nous.vm.validate: here is what a host, or a source, has a part in.
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "Python too old": (
        {"python_runtime_minimum": "3.99"},
        "python_runtime_interpreter is /usr/bin/python3, which is Python 3[.][0-9.]+ on this host; allowed is Python 3.99 or newer",
    ),
    "source that cannot be fetched": (
        {"nous_service_source": "git", "nous_service_git_url": "https://127.0.0.1:9/nous.git"},
        "nous_service_git_url https://127.0.0.1:9/nous.git at nous_service_git_ref .* gave no release: .* The server that runs was not touched",
    ),
    "ref that does not exist": (
        {"nous_service_source": "git", "nous_service_git_url": "file:///srv/empty.git", "nous_service_git_ref": "v9"},
        "nous_service_git_url file:///srv/empty.git at nous_service_git_ref v9 gave no release: .*v9.* The server that runs was not touched",
    ),
    "disk nearly full": (
        {"nous_service_root": "/srv/small/root"},
        r"nous_service_root is /srv/small/root, where \d+ MiB are free, and a release needs nous_service_build_space, 1024 MiB; allowed is ",
    ),
    "schedule that no systemd knows": (
        {"audit_logrotate_schedule": "*-*-* 03:00:00 Atlantis/Center"},
        "audit_logrotate_schedule is .* of which systemd-analyze prints: .* allowed is .* for example daily",
    ),
}
ALL_AT_ONCE: dict[str, Any] = {
    "caddy_gateway_hostname": "https://nous.localhost",
    "caddy_gateway_operator_cidrs": ["203.0.113.7/24"],
    "python_runtime_index_url": "https://ada:canary@mirror.example.org/simple/",
    "nous_service_user": "root",
    "audit_logrotate_mode": "0000",
}


@pytest.fixture(scope="module")
def prepared(host: Host) -> Host:
    """The host with what some of the cases need: a repository without the ref, a small file system."""
    host.run("git", "init", "--quiet", "--bare", "/srv/empty.git")
    host.run("sh", "-c", "mkdir -p /srv/small && mountpoint -q /srv/small || mount -t tmpfs -o size=16m tmpfs /srv/small")
    return host


def one_line(text: str) -> str:
    """Return a run's output without its line breaks."""
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize(("variables", "sentence"), CASES.values(), ids=CASES.keys())
def test_it_is_rejected_in_one_sentence_and_nothing_is_changed(prepared: Host, variables: dict[str, Any], sentence: str) -> None:
    files, invocations = prepared.files(), prepared.invocations()
    run = play("playbooks/site.yml", "inventories/local", **variables)
    assert run.rc != 0
    assert re.search(sentence, one_line(run.text)), run
    assert "canary" not in run.text
    assert prepared.files() == files
    assert prepared.invocations() == invocations


def test_all_faults_of_all_roles_come_at_once(host: Host) -> None:
    run = play("playbooks/site.yml", "inventories/local", **ALL_AT_ONCE)
    assert run.rc != 0
    for name in ALL_AT_ONCE:
        assert re.search(rf"- {name} (is|has) ", one_line(run.text)), run
    assert "5 values cannot be used; nothing was changed." in run.text, run
    assert "canary" not in run.text
    assert run.executions == {}, "the host is asked when the values are right"


def test_a_missing_hostname_is_rejected(tmp_path: Path, bare: Host) -> None:
    files = bare.files()
    run = play("playbooks/site.yml", inventory(tmp_path, bare, caddy_gateway_operator_cidrs='["203.0.113.7/32"]'))
    assert run.rc != 0
    assert "caddy_gateway_hostname is not set; allowed is " in one_line(run.text), run
    assert bare.files() == files


def test_an_unknown_platform_is_rejected_by_name(tmp_path: Path, bare: Host) -> None:
    bare.run("sed", "-i", "s/trixie/bookworm/g; s/13/12/g", "/usr/lib/os-release")
    bare.run("sh", "-c", "echo 12.11 > /etc/debian_version")
    files = bare.files()
    run = play(
        "playbooks/site.yml",
        inventory(tmp_path, bare, caddy_gateway_operator_cidrs='["203.0.113.7/32"]', caddy_gateway_hostname="nous.example.org"),
    )
    assert run.rc != 0
    assert re.search(r"The host runs Debian 12[.0-9]* \(bookworm\); allowed is Ubuntu 24.04 .* and Debian 13 \(trixie\)", one_line(run.text)), run
    assert bare.files() == files


def inventory(folder: Path, host: Host, **variables: str) -> Path:
    path = folder / "inventory"
    words = [f"{name}={value!r}" for name, value in variables.items()]
    path.write_text(f"[nous]\n{host.name} ansible_connection=community.docker.docker ansible_user=ops {' '.join(words)}\n", encoding="utf-8")
    return path
