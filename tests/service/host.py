"""A host with the whole site."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import json
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode, urlsplit

import container
import loads
import pytest
from container import CACHES, FLAGS, MIGRATE
from controller import PATIENCE, REPOSITORY, wait
from forms import Form
from load import call
from loads import FULL, Load
from wire import HOST, OPERATOR, STRANGER, VENDOR, Backend, Client, Network

FORM = Form(FULL, "make service-full")
only_full, only_on = FORM.only_full, FORM.only_on


DRAIN = 30 if FULL else 5
SITE = {
    "nous_vm_hosts": "all",
    "ansible_connection": "community.docker.docker",
    "ansible_python_interpreter": "/usr/bin/python3",
    "caddy_gateway_hostname": HOST,
    "caddy_gateway_operator_cidrs": [f"{OPERATOR}/32"],
    # Who is let in, and what one address may cost, is the business of tests/gate; all of the load comes from one address.
    "caddy_gateway_authorize": "public",
    "caddy_gateway_connection_limits": False,
    "__nous_service_tokenless_address_rate": 10**6,
    "__nous_service_address_limit": 10**6,
    "caddy_gateway_tls": "internal",
    "nous_service_source": "archive",
    # So long a client that stalls holds a stop.
    "nous_service_drain_timeout": DRAIN,
    # One is signed in with, once; the full form takes longer than the hour that it would be good for.
    "nous_service_settings": {"NOUS_OAUTH_ACCESS_TTL": 86400},
}


UNIT, PROXY = "nous.service", "nous-proxy.service"


def rest(*cases: tuple[Any, ...] | str | bytes) -> list[Any]:
    """Return the cases of a test that the short form leaves out, because others stand for them."""
    return [pytest.param(*(each if isinstance(each, tuple) else (each,)), marks=only_full("others stand for it")) for each in cases]


class Host:
    """A container with systemd as its first process and the whole site on it."""

    def __init__(self, platform: str, work: Path) -> None:
        self.platform, self.work = platform, work
        self.container = container.shared_name(f"nous-vm-service-test-{platform}")
        self.release = self.pack("1.0.0")

    def boot(self, *options: str) -> None:
        """Start the container, with options of docker, and the addresses that clients come from."""
        container.start(self.container, f"nous-vm-host:{self.platform}-packages", *FLAGS, *MIGRATE, *CACHES, *options)
        self.sh("until systemctl is-system-running --wait 2>&1 | grep -Eqx 'running|degraded'; do sleep 0.1; done")
        for address in (VENDOR, OPERATOR, STRANGER):
            self.sh(f"ip address replace {address}/32 dev lo")

    def start(self) -> None:
        self.boot()
        run = self.play()
        assert run.returncode == 0, run.stdout[-6000:]

    def remove(self) -> None:
        container.remove(self.container)

    @functools.cached_property
    def network(self) -> Network:
        found = subprocess.run(["docker", "inspect", "--format={{.State.Pid}}", self.container], check=True, capture_output=True, text=True)
        return Network(found.stdout.strip())

    @property
    def client(self) -> Client:
        return Client(self.network, Backend(self.network))

    def sh(self, script: str, check: bool = True, user: str = "root", stdin: str | None = None) -> str:
        command = ["docker", "exec", "--interactive", "--user", user, self.container, "sh", "-eu", "-c", script]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{script}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def put(self, path: str, content: str) -> None:
        self.sh(f'mkdir -p "$(dirname {path})" && cat > {path}', stdin=content)

    def pack(self, version: str, fault: str = "none") -> Path:
        """Pack a release of the stand-in."""
        archive = self.work / f"nous-{version}-{fault}.tar.gz"
        subprocess.run([REPOSITORY / "tests/standin/pack.py", f"--version={version}", f"--fault={fault}", archive], check=True)
        return archive

    def command(self, playbook: str = "site", /, *options: str, **variables: object) -> list[str]:
        """Return the command that runs a playbook."""
        extra = json.dumps(SITE | {"nous_service_archive": str(self.release)} | variables)
        return ["ansible-playbook", f"playbooks/{playbook}.yml", "--inventory", f"{self.container},", "--extra-vars", extra, *options]

    def play(self, playbook: str = "site", /, *options: str, **variables: object) -> subprocess.CompletedProcess[str]:
        command = self.command(playbook, *options, **variables)
        return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)

    @functools.cached_property
    def start_takes(self) -> float:
        """Return how long the server takes to answer after it is told to start anew, here and now."""
        begun = time.monotonic()
        self.sh(f"systemctl restart {UNIT}")
        wait(self.answers, "the server to answer")
        return time.monotonic() - begun

    def show(self, name: str, unit: str = UNIT) -> str:
        return self.sh(f"systemctl show --value --property={name} {unit}")

    def journal(self, since: float, unit: str = UNIT, *options: str) -> list[dict[str, Any]]:
        """Return what a unit, or systemd about it, wrote since a time of the monotonic clock."""
        lines = self.sh(f"journalctl --quiet --output=json --boot --unit={unit} {' '.join(options)} --since=@{time.time() - time.monotonic() + since:.6f}")
        return [json.loads(line) for line in lines.splitlines()]

    def query(self, sql: str) -> list[list[Any]]:
        """Ask the server's database, beside the server."""
        script = f"import json, sqlite3; print(json.dumps(sqlite3.connect('file:/var/lib/nous/state.db?mode=ro', uri=True).execute({sql!r}).fetchall()))"
        found: list[list[Any]] = json.loads(self.sh("python3 -", stdin=script))
        return found

    def rows(self) -> dict[str, tuple[str, str]]:
        """Return the status and the detail of every row of nous-vm check that is about the server."""
        found = json.loads(self.sh("/usr/local/sbin/nous-vm check --json || true"))
        return {row["name"]: (row["status"], row["detail"]) for row in found["rows"] if row["part"] == "deploy"}

    def check(self) -> dict[str, str]:
        return {name: status for name, (status, _detail) in self.rows().items()}

    def sign_in(self) -> None:
        """Go through OAuth once, as a client at a listed address does, and keep the token."""
        verifier, back = secrets.token_urlsafe(48), "http://localhost:1/"
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()

        def post(target: str, kind: str, body: str) -> Any:
            return json.loads(self.client.ask(VENDOR, target, f"Content-Type: {kind}", method="POST", body=body.encode()).rest)

        client_id = post("/register", "application/json", json.dumps({"redirect_uris": [back], "token_endpoint_auth_method": "none"}))["client_id"]
        asked = {"response_type": "code", "client_id": client_id, "redirect_uri": back, "code_challenge": challenge, "code_challenge_method": "S256"}
        location = self.client.ask(VENDOR, f"/authorize?{urlencode(asked)}").headers["location"]
        given = {"grant_type": "authorization_code", "client_id": client_id, "redirect_uri": back, "code_verifier": verifier}
        given |= {"code": parse_qs(urlsplit(location).query)["code"][0]}
        self.token = post("/token", "application/x-www-form-urlencoded", urlencode(given))["access_token"]

    def served(self, token: str, method: str = "tools/list", **parameters: object) -> bool:
        """Tell whether the gateway and the server take a token, by a request."""
        request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()
        headers = (f"Authorization: Bearer {token}", "Content-Type: application/json", "Accept: application/json, text/event-stream")
        return self.is_ok("/", *headers, method="POST", body=request)

    def is_ok(self, target: str, *headers: str, method: str = "GET", body: bytes = b"") -> bool:
        """Tell whether a client at a listed address is answered with 200."""
        try:
            status: int = self.client.ask(VENDOR, target, *headers, method=method, body=body).status
        except (OSError, ValueError):
            return False
        return status == 200

    @contextlib.contextmanager
    def load(self, rate: float | None = None) -> Iterator[Load]:
        """A load that runs within `with`, and is complete and compared with the server's record after it.

        rate: requests a second; loads.RATE as it is now, which a test may have set, without it.
        """
        load = Load(self, rate or loads.RATE)
        load.start()
        try:
            load.settle()
            yield load
            load.settle()
        finally:
            load.end()

    @contextlib.contextmanager
    def call_in_flight(self, tool: str, **arguments: object) -> Iterator[socket.socket]:
        """Call a tool through the gate and do not wait for the answer."""
        with self.client.secure(VENDOR) as connection:
            connection.settimeout(PATIENCE)
            connection.sendall(call(self.token, tool, arguments))
            yield connection

    def in_flight(self) -> int:
        """Return how many requests the server is answering, as a stop of it queries the proxy."""
        return int(self.package("from nous_vm.deploy.service import service; print(service().proxy.in_flight())"))

    def package(self, program: str, check: bool = True) -> str:
        """Run a program with the host's package."""
        return self.sh("python3 -I -", check, stdin=f"import sys; sys.path.insert(0, '/usr/local/lib/nous-vm'); {program}")

    def through_the_proxy(self) -> str:
        """Return all that comes on a connection of one request, until the proxy closes it."""
        script = (
            "import socket; s = socket.socket(socket.AF_UNIX); s.settimeout(9); s.connect('/run/nous-proxy/mcp.sock');"
            f"s.sendall(b'GET /.well-known/oauth-protected-resource HTTP/1.1\\r\\nHost: {HOST}\\r\\n\\r\\n');"
            "print(b''.join(iter(lambda: s.recv(65536), b'')).decode())"
        )
        return self.sh("python3 -", stdin=script)

    def answers(self) -> bool:
        return '"unhealthy": null' in self.sh("/usr/local/sbin/nous-vm releases --json", check=False)

    @contextlib.contextmanager
    def running(self, user: str, program: str, *arguments: str) -> Iterator[None]:
        """Let a Python program run on the host as a user, from its first line of output until its standard input ends with `with`."""
        command = ["docker", "exec", "--interactive", "--user", user, self.container, "python3", "-c", program, *arguments]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin and process.stdout
        try:
            assert process.stdout.readline(), "the program ended before it printed anything"
            yield
        finally:
            process.stdin.close()
            process.wait()


class Branch:
    """The repository on the host that is followed, and a clone of it here that is pushed from."""

    url = "file:///srv/nous.git"
    followed: ClassVar[dict[str, object]] = {
        "nous_service_source": "git",
        "nous_service_git_url": url,
        "nous_service_git_ref": "main",
        "nous_service_follow": True,
    }

    def __init__(self, host: Host) -> None:
        self.host, self.clone = host, host.work / "nous.git"
        host.sh("rm -rf /srv/nous.git; git init --quiet --bare --initial-branch=main /srv/nous.git")

    def push(self, version: str, fault: str = "none") -> str:
        """Push a release; return the name that it gets on the host."""
        pack: list[str | Path] = [REPOSITORY / "tests/standin/pack.py", "--git", f"--version={version}", f"--fault={fault}", self.clone]
        subprocess.run(pack, check=True)
        git = ["git", "-C", str(self.clone), "-c", "protocol.ext.allow=always"]
        there = f"ext::docker exec --interactive {self.host.container} %S /srv/nous.git"
        subprocess.run([*git, "push", "--quiet", there, "main"], check=True)
        commit = subprocess.run([*git, "rev-parse", "main"], check=True, capture_output=True, text=True).stdout
        python = self.host.sh("python3 -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])'")
        return f"git-{commit[:12]}-py{python}"
