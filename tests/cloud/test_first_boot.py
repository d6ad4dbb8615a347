# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The story of one VM, told in order: no network yet, a power cut in the middle, a wrong ref, mended; then an ordinary host."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from controller import REPOSITORY, play, sh

from .conftest import NAME, Host

SECRETS = {"nous_service_secrets": {"NOUS_DB_URL": "sqlite:////var/lib/nous/state.db"}}
LATER = {"nous_service_git_ref": "v1.0.1", "python_runtime_environment": {"PIP_RETRIES": "1"}}
READY = "systemctl is-active --quiet nous-vm-ready.target"


def failure(host: Host, cause: str) -> str:
    """Wait until cloud-init says a cause, and return the one line that says it."""
    printed = host.wait(f"cloud-init status --long | grep '{cause}'")
    assert printed.count("\n") == 0, printed
    return printed.strip().removeprefix("- ")


def test_without_a_network_it_reports_why(host: Host, files: Path, inventory: dict[str, Any]) -> None:
    (files / "secrets.json").write_text(json.dumps(SECRETS), encoding="utf-8")
    told = inventory | LATER | {"nous_vm_secrets_command": ["cat", "/srv/secrets.json"]}
    assert "hand it to" in play("cloud_init", {NAME: told}, host.work)
    host.create(files, host.work / "user-data" / f"{NAME}.yml")
    sh("docker", "network", "disconnect", "bridge", host.container)
    sh("docker", "start", host.container)
    printed = failure(host, "ansible-core")
    expected = r"nous-vm-first-boot: ansible-core 2[.]\d+[.]\d+: .+ \(name resolution\) \(attempt \d+ of 12; .+: sudo systemctl restart nous-vm-first-boot\)"
    assert re.fullmatch(expected, printed), printed
    assert printed.partition(" (attempt")[0] in host.sh("cat /run/motd.d/nous-vm")
    assert printed.partition(" (attempt")[0] in " ".join(host.console().split())
    assert host.sh("cloud-init status --format=yaml | grep ^status:") == "status: error"


def test_its_user_data_is_valid(host: Host) -> None:
    assert "Valid schema" in host.sh("cloud-init schema --config-file /var/lib/cloud/seed/nocloud/user-data")


def test_when_the_network_comes_it_goes_on_by_itself(host: Host) -> None:
    sh("docker", "network", "connect", "bridge", host.container)
    host.wait("journalctl --boot --unit=nous-vm-first-boot | grep 'TASK .nous.vm.oauth_key : '")


def test_a_power_cut_in_the_middle_is_no_harm(host: Host) -> None:
    sh("docker", "kill", host.container)
    sh("docker", "start", host.container)
    printed = failure(host, "nous_service_git_ref")
    assert "v1.0.1" in printed
    assert "sudo systemctl restart nous-vm-first-boot" in printed


def test_mended_the_command_that_it_named_resumes_it(host: Host) -> None:
    sh(REPOSITORY / "tests/standin/pack.py", "--git", "--version=1.0.1", host.work / "nous.git")
    host.sh("rm -r /srv/nous.git")
    sh("docker", "cp", "--quiet", host.work / "nous.git", f"{host.container}:/srv/nous.git")
    host.sh("sudo systemctl restart nous-vm-first-boot")
    assert host.sh("cloud-init status --wait --long | grep -E '^(status|errors):'") == "status: done\nerrors: []"
    assert host.sh(f"{READY} && nous-vm check > /dev/null && echo ready") == "ready"
    assert host.sh("ls /opt") == "nous\nuv"


def test_it_serves(host: Host) -> None:
    assert host.call("note", '{"text": "from a new VM"}')["unauthenticated"]["status"] == 401


def test_who_logs_in_sees_what_runs(host: Host) -> None:
    printed = host.sh("cat /run/motd.d/nous-vm")
    for line in (f"nous     https://{NAME}", "release  git-v1.0.1-py3", "key      EdDSA, kid ", "gateway  allows 160.79.104.0/21, 153.61.208.0/20, "):
        assert line in printed
        assert line in host.console()


def test_the_secret_is_where_only_root_and_the_server_read_it_and_in_no_log(host: Host) -> None:
    secret = SECRETS["nous_service_secrets"]["NOUS_DB_URL"]
    found = host.sh(f"grep -rlZF '{secret}' /etc /run /opt /var /usr/local 2> /dev/null | xargs -0 stat --format='%n %a %U'").splitlines()
    assert "/etc/nous/secrets.env 600 root" in found
    # systemd's copy for the server's account, which has it in its environment too.
    copy = "/run/credentials/nous.service/nous-vm.secrets.env 440 root"
    assert [line for line in found if not line.endswith(" 600 root") and line != copy] == []
    assert secret not in host.sh("journalctl --no-pager --output=export")
    assert secret not in host.console()


def test_it_is_an_ordinary_host_of_the_controller(host: Host, inventory: dict[str, Any]) -> None:
    connection = {"ansible_connection": "community.docker.docker", "ansible_host": host.container, "ansible_python_interpreter": "/usr/bin/python3"}
    printed = play("site", {NAME: inventory | LATER | SECRETS | connection}, host.work)
    assert re.search(r"changed=0 .*failed=0 ", printed), printed[-6000:]


def test_a_boot_brings_all_back_and_does_nothing_else(host: Host) -> None:
    host.reboot()
    host.wait(READY)
    assert host.sh("systemctl show --value --property=ConditionResult,ExecMainStartTimestampMonotonic nous-vm-first-boot") == "0\nno"
    assert host.call("note", '{"text": "after a boot"}')["unauthenticated"]["status"] == 401
    assert "release  git-v1.0.1" in host.sh("cat /run/motd.d/nous-vm")


def test_a_host_that_is_not_in_its_expected_state_is_not_ready(host: Host) -> None:
    host.sh("chmod 0644 /etc/nous/keys/signing.pem")
    host.reboot()
    # Alone: earlier in a boot, what is still starting is not ready either.
    host.wait("grep 'NOT ready: key: mode of signing.pem: 0644 root:root instead of 0600 root:root$' /run/motd.d/nous-vm")
    assert host.sh(f"{READY} || echo not") == "not"
    host.sh("chmod 0600 /etc/nous/keys/signing.pem")
    host.wait(READY)
    assert "NOT ready" not in host.sh("cat /run/motd.d/nous-vm")
