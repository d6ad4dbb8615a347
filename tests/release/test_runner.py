# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site as an automation platform runs it: by ansible-runner, in a container, by a user without rights, from a read-only project, without an agent."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from bare import IMAGE, Bare, bare
from building import install
from clone import run
from controller import REPOSITORY
from forms import Form

FORM = Form(os.environ.get("NOUS_VM_RELEASE") == "full", "make release-full")
pytestmark = FORM.only_full("it takes as long as a first run on a new host")
NAME = "nous-vm-runner"
# As an execution environment has them; the runner looks for the programs in PATH.
SCRIPT = """
set -e
mkdir /tmp/bin
printf '#!/bin/sh\\nexec python3 -m ansible.cli.playbook "$@"\\n' > /tmp/bin/ansible-playbook
chmod +x /tmp/bin/ansible-playbook
cp -r /private /tmp/runner
install -m 0600 /key /tmp/key
ln -s /project /tmp/runner/project
touch /project/written 2> /dev/null && echo "the project can be written to" && exit 1
PATH=/tmp/bin:$PATH exec python3 -m ansible_runner run /tmp/runner --playbook site.yml
"""


def runner(folder: Path) -> Path:
    """Return a folder with ansible-runner and the newest ansible-core, for the Python of the host's image."""
    install(folder / "core", "ansible-core==2.21.*", "ansible-runner", "cryptography")
    return folder / "core"


def project(folder: Path, plain: Path) -> Path:
    """Return a project as a platform syncs it: a playbook, the collection, and what the server is made of."""
    made = folder / "project"
    made.mkdir()
    (made / "site.yml").write_text("- ansible.builtin.import_playbook: nous.vm.site\n", encoding="utf-8")
    (archive,) = plain.glob("nous-vm-*.tar.gz")
    run("ansible-galaxy", "collection", "install", "--collections-path", made / "collections", archive, cwd=folder)
    run(REPOSITORY / "tests/standin/pack.py", made / "nous-1.0.0.tar.gz", cwd=folder)
    return made


def private(folder: Path, host: Bare) -> Path:
    """Return what the platform hands in beside the project: inventory and settings."""
    variables = {
        "ansible_host": host.address,
        "ansible_user": "ops",
        "ansible_ssh_private_key_file": "/tmp/key",
        "ansible_ssh_common_args": "-o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no",
        "caddy_gateway_hostname": "nous.example.org",
        "caddy_gateway_tls": "internal",
        "caddy_gateway_operator_cidrs": [f"{host.gateway}/32"],
        "nous_service_source": "archive",
        "nous_service_archive": "/project/nous-1.0.0.tar.gz",
    }
    made = folder / "private"
    (made / "inventory").mkdir(parents=True)
    (made / "env").mkdir()
    (made / "inventory/hosts.json").write_text(json.dumps({"nous": {"hosts": {"nous.example.org": variables}}}), encoding="utf-8")
    (made / "env/envvars").write_text(json.dumps({"ANSIBLE_COLLECTIONS_PATH": "/project/collections", "HOME": "/tmp"}), encoding="utf-8")
    return made


def test_a_run_by_ansible_runner(plain: Path, tmp_path: Path) -> None:
    core, synced = runner(tmp_path), project(tmp_path, plain)
    with bare(NAME, tmp_path) as host:
        volumes = {core: "/core", synced: "/project", private(tmp_path, host): "/private", host.key: "/key"}
        mounted = [word for source, target in volumes.items() for word in ("--volume", f"{source}:{target}:ro")]
        host.key.chmod(0o644)  # of another user there, who copies it
        settings = ["--env=PYTHONPATH=/core", "--env=PYTHONDONTWRITEBYTECODE=1", "--env=LC_ALL=C.UTF-8", "--env=HOME=/tmp"]
        command = ["docker", "run", "--rm", f"--network={NAME}", "--user=ops", "--entrypoint=bash", *settings, *mounted, IMAGE, "-c", SCRIPT]
        for again in (False, True):
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
            assert done.returncode == 0, done.stdout[-6000:]
            recap = next(line for line in done.stdout.splitlines() if line.startswith("nous.example.org") and "changed=" in line)
            assert ("changed=0 " in recap) == again, recap
