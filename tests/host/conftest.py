"""What the tests of the watch stand on: a host with the role alone, units of somebody's, and a catcher of alerts.

The short form runs on every platform in NOUS_VM_TEST_PLATFORMS; NOUS_VM_HOST=full runs all of it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import container
import pytest
from container import FLAGS
from controller import wait
from forms import PLATFORMS, Form

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
FORM = Form(os.environ.get("NOUS_VM_HOST") == "full", "make host-full")
LOOP = ["--device-cgroup-rule", "b 7:* rwm", "--device-cgroup-rule", "c 10:237 rwm"]  # devices for a small disk
URL = "http://127.0.0.1:8099/canary-of-the-alerts"
HEARTBEAT = "http://127.0.0.1:8099/canary-of-the-heartbeat"
CONNECTION = {"ansible_connection": "community.docker.docker", "ansible_python_interpreter": "/usr/bin/python3"}
VARIABLES: dict[str, Any] = {
    "host_watch_units": ["estate-", "estate.service"],
    "host_watch_names": ["/srv/estate", "127.0.0.1:8077"],
    "host_watch_ports": [80, 443],
    "host_watch_alert_url": URL,
    "host_watch_heartbeat_url": HEARTBEAT,
}
UNITS = {
    "estate.service": "[Service]\nType=oneshot\nExecStart=/usr/bin/test ! -e /run/estate-fails\n",
    "estate-sleep.service": "[Service]\nExecStart=/usr/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n",
    "estate-daily.timer": "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n",
    "estate-daily.service": "[Service]\nType=oneshot\nExecStart=/usr/bin/true\n",
    "catcher.service": "[Service]\nExecStart=/usr/bin/python3 /usr/local/lib/catcher.py\n",
}


class Host:
    """A container with systemd as its first process."""

    def __init__(self, platform: str) -> None:
        self.container = container.shared_name(f"nous-vm-host-test-{platform}")
        self.image = f"nous-vm-host:{platform}-packages"

    def run(self, *argv: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = ["docker", "exec", "--interactive", self.container, *argv]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=1800)
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def sh(self, script: str, check: bool = True) -> str:
        return self.run("bash", "-euc", script, check=check).stdout.strip()

    def put(self, path: str, content: str) -> None:
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1"', "-", path, stdin=content)

    def start(self) -> None:
        container.start(self.container, self.image, *FLAGS, *LOOP)
        self.sh("until systemctl is-system-running --wait 2>&1 | grep -Eqx 'running|degraded'; do sleep 0.1; done")
        self.sh("mkdir -p /run/catcher; echo ok > /run/catcher/mode")

    def apply(self, *arguments: str, **variables: object) -> str:
        """Apply the role; return what ansible-playbook printed."""
        playbook = json.dumps([{"hosts": "all", "gather_facts": False, "roles": ["nous.vm.host_watch"]}])
        command = [
            "ansible-playbook",
            "--inventory",
            f"{self.container},",
            "--diff",
            *arguments,
            "--extra-vars",
            json.dumps(CONNECTION | VARIABLES | variables),
        ]
        done = subprocess.run([*command, "/dev/stdin"], cwd=REPOSITORY, input=playbook, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def rows(self) -> dict[str, tuple[str, str]]:
        """Return status and detail of each row of the check."""
        found = json.loads(self.run("nous-vm", "check", "--json", check=False).stdout)["rows"]
        return {row["name"]: (row["status"], row["detail"]) for row in found}

    def watch(self) -> None:
        """Run the watch as its timer does."""
        self.run("systemctl", "start", "host-watch.service")

    def got(self, path: str = "/canary-of-the-alerts") -> list[dict[str, Any]]:
        """Return the requests that the catcher got."""
        lines = self.sh("cat /run/catcher/got 2>/dev/null || true").splitlines()
        return [each for each in map(json.loads, lines) if each["path"] == path]

    def told(self, count: int) -> list[dict[str, Any]]:
        """Wait until the catcher got so many alerts; return their documents."""
        wait(lambda: len(self.got()) >= count, f"{count} alerts", 120)
        return [json.loads(each["body"]) for each in self.got()]

    def forget(self) -> None:
        """Begin anew: nothing is red, nothing waits, the catcher takes everything."""
        self.sh("echo ok > /run/catcher/mode; rm -rf /run/estate-fails /var/lib/nous-vm/watch/failed; systemctl reset-failed; systemctl start catcher.service")
        self.watch()
        self.sh("rm -f /run/catcher/got /var/lib/nous-vm/watch/state.json")
        self.watch()
        self.sh("rm -f /run/catcher/got")

    @contextmanager
    def broken(self, how: str, mend: str) -> Iterator[None]:
        self.sh(how)
        try:
            yield
        finally:
            self.sh(mend)


@pytest.fixture(scope="session", params=PLATFORMS)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host with the role applied."""
    made = Host(request.param)
    try:
        made.start()
        made.put("/usr/local/lib/catcher.py", (HERE / "catcher.py").read_text(encoding="utf-8"))
        for name, content in UNITS.items():
            made.put(f"/etc/systemd/system/{name}", content)
        made.sh("systemctl daemon-reload; systemctl start catcher.service; systemctl enable --now --quiet estate-sleep.service estate-daily.timer")
        made.sh("touch /var/lib/apt/lists/test_InRelease")  # nothing is pending on a host whose lists are empty
        made.apply()
        yield made
    finally:
        container.remove(made.container)
