"""A host that runs nous's own bundle becomes one of the site, by one run, and what the bundle's updater does afterwards is seen."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "service"))

import bundle
import container
from alone import only_full
from controller import REPOSITORY, wait
from forms import PLATFORMS
from host import Host as Site

UNITS = "/etc/systemd/system"
VERIFY = "/usr/local/sbin/nous-vm audit verify --json"


class Machine(Site):
    """A host without the site."""

    def __init__(self, platform: str, work: Path) -> None:
        super().__init__(platform, work)
        self.container = container.shared_name(f"nous-vm-adopt-test-{platform}")

    def send(self, path: Path, there: str) -> None:
        subprocess.run(["docker", "cp", "--quiet", str(path), f"{self.container}:{there}"], check=True, capture_output=True)

    def adopt(self, *options: str) -> str:
        """Adopt it; return what the run printed."""
        done = self.play("adopt", *options)
        assert done.returncode == 0, done.stdout[-6000:]
        return done.stdout

    def cut(self, condition: str) -> None:
        """Adopt it, and kill the run when a condition is true on the host."""
        with subprocess.Popen(self.command("adopt"), cwd=REPOSITORY, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, start_new_session=True) as process:
            try:
                wait(lambda: self.sh(f"if {condition}; then echo yes; fi") or process.poll() is not None, condition, 300)
                assert process.poll() is None
            finally:
                os.killpg(process.pid, signal.SIGKILL)

    def writes(self, token: str) -> bool:
        """Tell whether gateway and server take a token, by a call that leaves a record."""
        return self.served(token, "tools/call", name="note", arguments={"text": "here"})

    def is_there(self) -> bool:
        """Tell whether there is a server behind the gateway."""
        return self.is_ok("/.well-known/oauth-protected-resource")

    def red(self) -> dict[str, str]:
        """Return the rows of the check that are red."""
        found = json.loads(self.sh("/usr/local/sbin/nous-vm check --json || true"))["rows"]
        return {row["name"]: row["detail"] for row in found if row["status"] == "fail"}

    def log(self) -> str:
        """Return all of the log, the oldest first."""
        return self.sh("cd /var/log/nous; ls audit.jsonl.* 2>/dev/null | sort -t. -k3nr | while read f; do zcat -f $f; done; cat audit.jsonl")


@pytest.fixture(scope="module", params=PLATFORMS)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A host that runs the bundle, with a client that has a token, and an archive of another day."""
    container.need_root()
    made = Machine(request.param, tmp_path_factory.mktemp("adopt"))
    try:
        made.boot()
        bundle.install(made)
        wait(made.is_there, "the bundle's server", 120)
        made.sign_in()
        assert made.writes(made.token)
        assert made.writes(made.token)
        bundle.archive(made)
        wait(lambda: made.writes(made.token), "the bundle's server")
        yield made
    finally:
        container.remove(made.container)


def sentences(printed: str) -> str:
    """Return what a run printed, without the breaks of lines that its width makes."""
    return re.sub(r"\s+", " ", printed.replace("\\n", " "))


def test_the_site_lists_all_that_is_in_the_way_and_changes_nothing(host: Machine) -> None:
    state = f"ls -lR --time-style=full-iso {UNITS} /etc/nous /etc/logrotate.d /etc/caddy | sha256sum; ls -A /opt/nous /var/lib /usr/local/sbin"
    there = host.sh(state)
    rejected = host.play("site")
    assert rejected.returncode != 0
    printed = sentences(rejected.stdout)
    for path in (*(f"{UNITS}/{name}" for name in bundle.UNITS), "/opt/nous", "/etc/logrotate.d/nous", "/etc/caddy/Caddyfile"):
        assert re.search(f"- {re.escape(path)} [^;]*; allowed is [^;]*, for example ansible-playbook nous.vm.adopt[.]", printed), path
    would = sentences(host.adopt("--check"))
    assert "/opt/nous: a checkout of nous's own bundle" in would
    assert "NOUS_POLICY=open" in would
    assert host.sh(state) == there
    assert host.writes(host.token)


@only_full("two runs of the site more")
def test_a_run_that_is_cut_off_leaves_the_server_or_says_what_it_left(host: Machine) -> None:
    host.cut("test -e /var/lib/nous-vm/adopting")
    assert host.writes(host.token)
    host.cut(f"test -e /var/lib/nous-vm/adopting.stopped && test ! -e {UNITS}/nous.service")
    assert "The host is adopted in part" in sentences(host.play("site").stdout)


def test_a_host_is_adopted(host: Machine) -> None:
    """In the long form after runs that were cut off."""
    before, anchors = host.log(), host.sh("cat /var/log/nous/audit-anchors.jsonl")
    assert len(before.splitlines()) > 1
    (outage,) = re.findall(r"is adopted, after ([0-9.]+) s without a server", sentences(host.adopt()))
    print(f"{host.platform}: {outage} s without a server, in the long form from the stop in the run that was cut off")
    assert host.writes(host.token)
    assert host.red() == {}
    assert " adopted " in host.sh("/usr/local/sbin/nous-vm clients list")
    assert host.log().startswith(before)
    assert host.sh("cat /var/log/nous/audit-anchors.jsonl").startswith(anchors)
    verified = json.loads(host.sh(f"{VERIFY} || true"))
    assert verified["whole"], verified
    assert re.search(r"adopt-test-\S+ +: ok=[0-9]+ +changed=0 ", host.adopt())


@only_full("two runs of the site more")
def test_a_push_brings_nothing_back_and_what_somebody_installs_again_is_mended(host: Machine) -> None:
    bundle.push(host)
    kept = host.sh("ls -d /var/lib/nous-vm/adopted/*")
    assert "not a git repository" in host.sh(f"{kept}/opt/nous/deploy/auto-update.sh 2>&1 || true")
    assert host.sh("systemctl list-unit-files --no-legend 'nous-auto-update*' || true") == ""
    assert host.red() == {}

    deploy = f"{kept}/opt/nous/deploy"
    host.sh(f"install -m 0644 {deploy}/systemd/* {UNITS}/; install -m 0644 {deploy}/logrotate.conf /etc/logrotate.d/nous; systemctl daemon-reload")
    host.sh("systemctl enable --quiet --now nous-auto-update.timer; systemctl restart nous.service || true")
    red = host.red()["other units"]
    assert f"{UNITS}/nous-auto-update.service names /opt/nous" in red
    assert "ansible-playbook nous.vm.adopt" in sentences(host.play("site").stdout)
    host.adopt()
    assert host.red() == {}
    assert host.writes(host.token)


@only_full("two runs of the site more")
def test_the_way_back_is_as_documented(host: Machine) -> None:
    page = (REPOSITORY / "docs/adopt.md").read_text(encoding="utf-8")
    commands = page.split("    sudo -i\n")[1].split("\n\n")[0]
    absent = dict.fromkeys(re.findall(r"-e (\w+_state)=absent", page), "absent")
    assert host.play("site", **absent).returncode == 0
    first = host.sh("ls /var/lib/nous-vm/adopted | head -n 1")
    host.sh(re.sub(r"(?m)^    ", "", commands).replace("TIME", first))
    wait(lambda: host.writes(host.token), "the bundle's server", 120)
    assert host.sh("readlink /proc/$(systemctl show --property=MainPID --value nous.service)/cwd") == "/opt/nous"
    assert host.sh("stat --format=%a /etc /opt /var/lib") == "755\n755\n755"

    # The host is adopted again, and by a run that nothing cuts off.
    (outage,) = re.findall(r"is adopted, after ([0-9.]+) s without a server", sentences(host.adopt()))
    print(f"{host.platform}: {outage} s without a server")
    assert host.writes(host.token)
    assert host.red() == {}
