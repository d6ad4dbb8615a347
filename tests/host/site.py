"""The whole site on a host of its own, for the long form."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import container
from container import CACHES, FLAGS, MIGRATE
from controller import REPOSITORY, play, sh

VARIABLES: dict[str, Any] = {
    "ansible_connection": "community.docker.docker",
    "ansible_python_interpreter": "/usr/bin/python3",
    "caddy_gateway_hostname": "nous.example.org",
    "caddy_gateway_operator_cidrs": ["198.51.100.7/32"],
    "caddy_gateway_tls": "internal",
    "nous_service_source": "archive",
}


LOAD = "/usr/local/lib/load.py"


class Site:
    """A container to which the site playbook was applied."""

    def __init__(self, platform: str, work: Path, tree: Path = REPOSITORY) -> None:
        self.container, self.work, self.tree = container.shared_name(f"nous-vm-host-test-site-{platform}"), work, tree
        self.image = f"nous-vm-host:{platform}-packages"

    def start(self) -> None:
        container.start(self.container, self.image, *FLAGS, *CACHES, *MIGRATE)
        self.sh("until systemctl is-system-running --wait 2>&1 | grep -Eqx 'running|degraded'; do sleep 0.1; done")
        sh(sys.executable, REPOSITORY / "tests/standin/pack.py", self.work / "nous-1.0.0.tar.gz")
        self.apply()

    def apply(self) -> str:
        """Run the site playbook of the checkout; return what it printed."""
        variables = VARIABLES | {"nous_service_archive": str(self.work / "nous-1.0.0.tar.gz")}
        return play("site", {self.container: variables}, self.work, tree=self.tree)

    def sh(self, script: str, stdin: str | None = None, timeout: float = 3600) -> str:
        command = ["docker", "exec", "--interactive", self.container, "bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=timeout)
        assert done.returncode == 0, f"{script}: {done.stdout[-6000:]}{done.stderr[-2000:]}"
        return done.stdout.strip()

    def put(self, path: str, content: str) -> None:
        self.sh(f'mkdir -p "$(dirname {path})" && cat > {path}', stdin=content)

    def clients(self, seconds: int) -> subprocess.Popen[str]:
        """Return clients that send requests for some seconds, and print in JSON then what became of these."""
        return subprocess.Popen(["docker", "exec", self.container, "python3", "-I", LOAD, str(seconds)], stdout=subprocess.PIPE, text=True)

    def rows(self) -> dict[str, tuple[str, str]]:
        """Return status and detail of each row of the check, by part and name."""
        found = json.loads(self.sh("nous-vm check --json || true"))["rows"]
        return {f"{row['part']}: {row['name']}": (row["status"], row["detail"]) for row in found}

    def failed(self) -> list[str]:
        """Return the rows that are red."""
        return [name for name, (status, _detail) in self.rows().items() if status == "fail"]


@contextlib.contextmanager
def applied(platform: str, work: Path, tree: Path = REPOSITORY) -> Iterator[Site]:
    """A host to which the site of a checkout was applied, with what its clients run; gone at the end."""
    made = Site(platform, work, tree)
    try:
        made.start()
        made.put(LOAD, Path(__file__).with_name("load.py").read_text(encoding="utf-8"))
        yield made
    finally:
        container.remove(made.container)
