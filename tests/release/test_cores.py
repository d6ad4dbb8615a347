# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other generations of ansible-core than that of uv.lock, which is the oldest: the syntax of all playbooks, and the plugins that run on a controller.

They need a newer Python than this machine may have, so they run in a test host's image. A whole run of the site by 2.21 is tests/cloud's.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import build
import pytest
from building import install
from controller import REPOSITORY
from forms import Form

FORM = Form(os.environ.get("NOUS_VM_RELEASE") == "full", "make release-full")
pytestmark = FORM.only_full("a run takes a minute for each generation of ansible-core")
TESTS = f"{build.COLLECTION}/tests/unit/plugins"
CONTROLLER = ("action", "callback", "filter", "plugin_utils")
SCRIPT = f"""
set -e
# Beside the interpreter, where the tests of the plugins look for them.
for each in playbook galaxy inventory vault; do printf '#!/bin/sh\\nexec python3 -m ansible.cli.%s "$@"\\n' "$each" > "/usr/bin/ansible-$each"; done
printf '#!/bin/sh\\nexec python3 -m ansible.cli.adhoc "$@"\\n' > /usr/bin/ansible
chmod +x /usr/bin/ansible*
cd /tmp
printf '[nous]\\nnous.example.org caddy_gateway_hostname=nous.example.org\\n' > inventory
ansible --version | head -1
for path in /repository/{build.COLLECTION}/playbooks/*.yml; do ansible-playbook --syntax-check "nous.vm.$(basename "$path" .yml)" -i inventory; done
cd /repository
python3 -m pytest -q -p no:cacheprovider {" ".join(f"{TESTS}/{kind}" for kind in CONTROLLER)}
"""


@pytest.mark.parametrize("core", ["2.20", "2.21"])
def test_playbooks_and_the_plugins_of_a_controller(core: str, tmp_path: Path) -> None:
    install(tmp_path, f"ansible-core=={core}.*", "pytest", "jmespath", "cryptography", "hypothesis")
    variables = {"PYTHONPATH": "/core", "ANSIBLE_COLLECTIONS_PATH": "/repository/collections", "HOME": "/tmp", "LC_ALL": "C.UTF-8"}
    variables["PYTHONDONTWRITEBYTECODE"] = "1"
    options = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
    volumes = ["--volume", f"{REPOSITORY}:/repository:ro", "--volume", f"{tmp_path}:/core:ro"]
    command = ["docker", "run", "--rm", "--entrypoint", "bash", *options, *volumes, "nous-vm-host:debian-13", "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"ansible [core {core}." in done.stdout
