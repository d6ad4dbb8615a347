# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rival of the bench: pyinfra, in an environment of its own, brings the host to the state that the site has brought it to.

It is told what the site wrote: the same account, the same packages, five units, and at most FILES files. A host that gets more files than that does
not count for us: the list ends there, with the configuration first.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from images import packages

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = REPOSITORY / ".cache/bench"
LOCAL = REPOSITORY / ".cache/local"
PYINFRA = "pyinfra==3.10.*"
FILES = 50
# What the site writes outside its releases, the configuration first. The signing key is made on the host: no tool brings it.
FOLDERS = "/etc/nous-vm /etc/nous /etc/caddy /etc/ansible/facts.d /etc/sysctl.d /etc/systemd/system /usr/local/sbin /usr/local/lib/nous-vm"
FIND = f"""
for folder in {FOLDERS}; do
  find $folder -xdev -type f -newer /home/ops/.ssh/authorized_keys -not -path '*/__pycache__/*' -not -path '/etc/nous/keys/*' \
    -not -path '/usr/local/lib/nous-vm/root/*' -printf '%p %u %g %m\\n' | sort
done
"""
UNITS = "systemctl list-unit-files --no-legend --state=enabled caddy.service nous.service 'nous-*.socket' 'nous-*.timer' 'audit-logrotate-*.timer'"


class Rival:
    """pyinfra and its desired state on a host of `make up`."""

    def __init__(self, container: str) -> None:
        self.container = container
        self.program = CACHE / "pyinfra/bin/pyinfra"
        self.resources: dict[str, Any] = {}

    def on_host(self, script: str) -> str:
        return subprocess.run(["docker", "exec", self.container, "sh", "-euc", script], capture_output=True, text=True, check=True).stdout

    def install(self) -> None:
        """Bring pyinfra from PyPI, unless it is there."""
        if not self.program.exists():
            subprocess.run([sys.executable, "-m", "venv", CACHE / "pyinfra"], check=True)
            subprocess.run([CACHE / "pyinfra/bin/pip", "install", "--quiet", "--quiet", "--disable-pip-version-check", PYINFRA], check=True)

    def learn(self) -> str:
        """Read from the host what the site brought it to; return what that is, in words."""
        contents = CACHE / "files"
        contents.mkdir(parents=True, exist_ok=True)
        listed = [line.split() for line in self.on_host(FIND).splitlines()][:FILES]
        files = []
        for number, (path, owner, group, mode) in enumerate(listed):
            content = contents / str(number)
            content.write_text(self.on_host(f"cat {path}"), encoding="utf-8")
            files.append({"path": path, "owner": owner, "group": group, "mode": mode, "content": str(content)})
        name, _password, _uid, _gid, _comment, home, shell = self.on_host("getent passwd nous").strip().split(":")
        units = [line.split()[0] for line in self.on_host(UNITS).splitlines()]
        installed = set(self.on_host("dpkg-query --show --showformat='${Package}\n'").split())
        wanted = [each for each in packages() if each in installed]  # those of a role that this host does not have are for the images alone
        self.resources = {"packages": wanted, "account": {"name": name, "home": home, "shell": shell}, "files": files, "units": units}
        (CACHE / "resources.json").write_text(json.dumps(self.resources, indent=2), encoding="utf-8")
        ssh = {"ssh_user": "ops", "ssh_key": str(LOCAL / "id_ed25519"), "ssh_known_hosts_file": str(LOCAL / "known_hosts")}
        data = ssh | {"resources": str(CACHE / "resources.json"), "_sudo": True}
        (CACHE / "inventory.py").write_text(f"hosts = [('127.0.80.8', {data!r})]\n", encoding="utf-8")
        return f"{len(files)} files, {len(units)} units, {len(self.resources['packages'])} packages, 1 account"

    @property
    def command(self) -> list[str]:
        """Return the run of pyinfra that is measured."""
        return [str(self.program), "--yes", "--json", str(CACHE / "inventory.py"), str(Path(__file__).with_name("pyinfra_deploy.py"))]

    def check(self) -> None:
        """Run it once; end the bench unless it found all as it should be."""
        done = subprocess.run(self.command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        totals = json.loads(done.stdout)["results"]["totals"] if done.returncode == 0 else {}
        operations = len(self.resources["files"]) + len(self.resources["units"]) + 2
        if totals.get("no_change") != operations:
            sys.exit(f"pyinfra found something to do, or failed: {totals or done.stdout + done.stderr}")
