"""Hosts with the role applied, a server behind their gateways that tells what reached it, and addresses to come from.

The requests are sent from here, through sockets that are opened in the host's network namespace; so this runs as root. All of it runs on every
platform in NOUS_VM_TEST_PLATFORMS; NOUS_VM_GATE=full adds what takes minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import container
import proxy
from container import FLAGS, MIGRATE, need_root
from forms import PLATFORMS, Form
from wire import HOST, OPERATOR, OPERATOR_6, PUBLIC, STRANGER, STRANGER_6, VENDOR, Backend, Client, Network

REPOSITORY = Path(__file__).resolve().parents[2]
FULL = os.environ.get("NOUS_VM_GATE") == "full"
IPV6 = ["--sysctl", "net.ipv6.conf.all.disable_ipv6=0"]
FORM = Form(FULL, "make gate-full")
only_full, only_on = FORM.only_full, FORM.only_on
GATE = {
    "ansible_connection": "community.docker.docker",
    "ansible_python_interpreter": "/usr/bin/python3",
    "caddy_gateway_hostname": HOST,
    "caddy_gateway_operator_cidrs": [f"{OPERATOR}/32", f"{OPERATOR_6}/128"],
    "caddy_gateway_tls": "internal",
    "caddy_gateway_upstream": f"unix/{proxy.SOCKET}",
    "caddy_gateway_upstream_tokenless": f"unix/{proxy.TOKENLESS}",
    # The suite opens more connections from one address than the role lets; test_under_attack.py has the limits.
    "caddy_gateway_connection_limits": False,
    # What these tests send a public path with; the default is in test_client.py.
    "caddy_gateway_authorize": "public",
    "caddy_gateway_confirm_seconds": 0,  # but where it is the point, in test_change.py
}
# The suite sends more from one address than the role lets.
MANY = {"__nous_service_tokenless_address_rate": 10**6}


class Host:
    """A container with systemd as its first process."""

    def __init__(self, platform: str, image: str = "-packages") -> None:
        self.platform = platform
        self.container = container.shared_name(f"nous-vm-gate-test-{platform}{image}")
        container.start(self.container, f"nous-vm-host:{platform}{image}", *FLAGS, *MIGRATE, *IPV6)
        self.booted()

    def booted(self) -> None:
        """Give a host that has just come up its addresses, and the server behind its gateway."""
        self.sh("until systemctl is-system-running --wait 2>&1 | grep -Eqx 'running|degraded'; do sleep 0.1; done")
        for address in (f"{VENDOR}/32", f"{OPERATOR}/32", f"{STRANGER}/32", f"{OPERATOR_6}/128", f"{STRANGER_6}/128"):
            self.sh(f"ip address replace {address} dev lo")
        found = subprocess.run(["docker", "inspect", "--format={{.State.Pid}}", self.container], check=True, capture_output=True, text=True)
        self.pid = found.stdout.strip()
        self.network = Network(self.pid)
        self.backend = Backend(self.network)
        self.client = Client(self.network, self.backend)
        self.backend.start()

    def with_proxy(self, **limits: int) -> None:
        """Put the local proxy before the server."""
        self.sh("install -d /etc/nous-vm/proxy.d")
        for path, content in proxy.files(**limits).items():
            self.write(path, content)
        self.sh(f"systemctl daemon-reload && systemctl stop {proxy.UNITS} && systemctl enable --quiet --now {proxy.UNITS}")

    def write(self, path: str, content: str) -> None:
        subprocess.run(["docker", "exec", "--interactive", self.container, "tee", path], input=content, capture_output=True, text=True, check=True)

    def sh(self, script: str, check: bool = True) -> str:
        done = subprocess.run(["docker", "exec", self.container, "sh", "-eu", "-c", script], capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def command(self, **variables: object) -> list[str]:
        """Return the command that applies the role, from a playbook on its standard input."""
        return ["ansible-playbook", "--inventory", f"{self.container},", "--extra-vars", json.dumps(GATE | variables), "/dev/stdin"]

    def play(self, **variables: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(**variables), cwd=REPOSITORY, input=PLAYBOOK, capture_output=True, text=True, check=False)


PLAYBOOK = "- {hosts: all, gather_facts: false, roles: [nous.vm.caddy_gateway]}\n"


@pytest.fixture(scope="session", params=PLATFORMS)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    need_root()
    made = Host(request.param)
    try:
        made.with_proxy(**MANY)
        run = made.play()
        assert run.returncode == 0, run.stdout
        yield made
        # Whatever was sent: who is not listed was let through at public paths alone, and the server heard of true peers only.
        listed = {VENDOR, OPERATOR, OPERATOR_6}
        sources = [(seen.all("x-forwarded-for"), seen.path) for seen in made.backend.seen]
        assert sources
        assert [(source, path) for source, path in sources if len(source) != 1 or (source[0] not in listed and path not in PUBLIC)] == []
    finally:
        container.remove(made.container)


@pytest.fixture
def client(host: Host) -> Client:
    return host.client


@pytest.fixture
def backend(host: Host) -> Backend:
    return host.backend
