"""The gateway on its host: a server behind a unix socket, a boot, a first install, a run that is killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time

import pytest
from conftest import FULL, PLAYBOOK, REPOSITORY, Host, only_full
from wire import HOST, OPERATOR, STRANGER, context, parsed

CHECK = "/usr/local/sbin/nous-vm check"


def holds(host: Host) -> None:
    assert host.client.ask(OPERATOR, "/").seen
    assert host.client.ask(STRANGER, "/").denied == "address"
    assert host.client.ask(STRANGER, "/authorize").seen


def test_the_address_is_read_from_the_connection_alone(host: Host) -> None:
    """Where Caddy can take a header for it, no request would show it here, because such headers are gone before; so the configuration has to."""
    adapted = host.sh("caddy adapt --config /etc/caddy/Caddyfile")
    assert adapted.count('"remote_ip":{"ranges":[') == 2
    assert [word for word in ("client_ip", "trusted_proxies", "proxy_protocol", '"forwarded"') if word in adapted] == []


def test_boot(host: Host) -> None:
    """The same certificate, the same gateway, and nothing to do for a run."""

    def certificate() -> bytes | None:
        with host.client.secure(STRANGER) as connection:
            return connection.getpeercert(binary_form=True)

    before, seen = certificate(), host.backend.seen
    subprocess.run(["docker", "restart", host.container], check=True, capture_output=True)
    host.booted()
    host.backend.seen[:0] = seen
    host.sh("systemctl is-active caddy.service")
    holds(host)
    assert certificate() == before
    assert "fail" not in host.sh(CHECK)
    assert "changed=0" in host.play().stdout


@only_full("a host of its own; molecule/caddy_gateway uninstalls it")
def test_absent_needs_no_package(host: Host) -> None:
    """On a host that never had Caddy."""
    bare = Host(host.platform, "")
    try:
        run = bare.play(caddy_gateway_state="absent")
        assert "changed=0" in run.stdout, run.stdout
        assert bare.sh("command -v caddy", check=False) == ""
        if FULL:
            watched_install(bare)
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", bare.container], check=True, capture_output=True)


def watched_install(bare: Host) -> None:
    """Ask for the welcome page all the time: what is answered comes from the gateway, from the first answer on."""
    answers: list[bytes] = []
    done = threading.Event()

    def watch(port: int) -> None:
        while not done.is_set():
            try:
                with bare.network.entered():
                    plain = socket.socket()
                plain.settimeout(5)
                plain.connect(("127.0.0.1", port))
                with plain if port == 80 else context().wrap_socket(plain, server_hostname=HOST) as connection:
                    connection.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
                    answers.append(connection.recv(65536))
            except OSError:
                time.sleep(0.002)  # nobody listens yet: not a condition to wait for, but how often to ask

    watchers = [threading.Thread(target=watch, args=[port]) for port in (80, 443)]
    for watcher in watchers:
        watcher.start()
    try:
        run = bare.play(caddy_gateway_upstream="127.0.0.1:8088", caddy_gateway_upstream_tokenless="")
    finally:
        done.set()
        for watcher in watchers:
            watcher.join()
    assert run.returncode == 0, run.stdout
    assert len(answers) > 10
    assert {(parsed(answer).status, parsed(answer).denied) for answer in answers if answer} == {(308, ""), (403, "address")}
    holds(bare)


@only_full("five runs")
@pytest.mark.parametrize("task", ["Validate the variables", "Write configuration", "Keep Caddy running", "Apply the gateway, or", "PLAY RECAP"])
def test_killed_at_a_task(host: Host, task: str) -> None:
    """A change is cut short as a task begins: the gateway holds, by the old allow list or the new, and the next run makes it good."""
    added = {"caddy_gateway_operator_cidrs": ["203.0.113.7/32", "198.51.100.0/24"]}
    run = subprocess.Popen(host.command(**added), cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert run.stdin
    assert run.stdout
    run.stdin.write(PLAYBOOK)
    run.stdin.close()
    assert any(task in line for line in run.stdout), task
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    holds(host)
    host.sh("while systemctl --quiet is-active nous-vm-gateway-apply.service; do sleep 0.1; done")
    holds(host)
    again = host.play(**added)
    assert again.returncode == 0, again.stdout
    assert "198.51.100.0/24" in host.sh("cat /etc/caddy/Caddyfile")
    assert "fail" not in host.sh(CHECK)
    holds(host)
    assert host.play().returncode == 0
