"""A host that follows a branch: what is pushed to it is taken, or not, while clients go on; nobody is there but the timer."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from host import REPOSITORY, Host, wait

ROOT, BRANCH = "/opt/nous", "main"
URL = "file:///srv/nous.git"
FOLLOWING = {"nous_service_source": "git", "nous_service_git_url": URL, "nous_service_git_ref": BRANCH, "nous_service_follow": True}


class Branch:
    """The repository on the host that is followed, and a clone of it here that is pushed from."""

    def __init__(self, host: Host) -> None:
        self.host, self.clone = host, host.work / "nous.git"
        host.sh("git init --quiet --bare --initial-branch=main /srv/nous.git")

    def push(self, version: str, fault: str = "none") -> str:
        """Push a release; return the name that it gets on the host."""
        pack = [REPOSITORY / "tests/standin/pack.py", "--git", f"--version={version}", f"--fault={fault}", self.clone]
        subprocess.run(pack, check=True)
        git = ["git", "-C", str(self.clone), "-c", "protocol.ext.allow=always"]
        there = f"ext::docker exec --interactive {self.host.container} %S /srv/nous.git"
        subprocess.run([*git, "push", "--quiet", there, BRANCH], check=True)
        commit = subprocess.run([*git, "rev-parse", BRANCH], check=True, capture_output=True, text=True).stdout
        python = self.host.sh("python3 -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])'")
        return f"git-{commit[:12]}-py{python}"


def look(host: Host) -> str:
    """Look once, as the timer does; return how the unit ended."""
    host.sh("systemctl start nous-follow.service", check=False)
    return f"{host.show('Result', 'nous-follow.service')} {host.show('ExecMainStatus', 'nous-follow.service')}"


def current(host: Host) -> str:
    return host.sh(f"basename $(readlink {ROOT}/current)")


def untouched(host: Host) -> Any:
    """Return what changes if anything is built, stopped or started."""
    return host.show("MainPID"), host.show("InvocationID"), host.sh(f"find {ROOT} -printf '%p %T@ %C@\\n' | sort | sha256sum")


def row(host: Host, name: str = "newest commit") -> tuple[str, str]:
    said = json.loads(host.sh("/usr/local/sbin/nous-vm-check --json || true"))
    (found,) = [(row["status"], row["detail"]) for row in said["rows"] if row["name"] == name]
    return found


@pytest.fixture
def branch(host: Host) -> Iterator[Branch]:
    """The host follows the branch; afterwards it is as it was, and nothing is left of that."""
    branch = Branch(host)
    first = branch.push("2.0.0")
    run = host.play(**FOLLOWING)
    assert run.returncode == 0, run.stdout[-4000:]
    assert current(host) == first
    yield branch
    run = host.play()
    assert run.returncode == 0, run.stdout[-4000:]
    left = host.sh("ls /etc/systemd/system/ /etc/systemd/system/*.wants /usr/local/sbin; systemctl list-units --all --no-legend 'nous-*'")
    assert "follow" not in left, left
    assert current(host).startswith("archive-")
    host.sh("rm -rf /srv/nous.git")


def test_a_branch_is_followed(host: Host, branch: Branch) -> None:
    assert look(host) == "success 0"
    before = current(host)
    assert row(host)[0] == row(host, "follow timer")[0] == row(host, "sandbox of nous-follow.service")[0] == "ok"
    with host.load() as load:
        good = branch.push("2.1.0")
        assert look(host) == "success 0"
        assert current(host) == good != before

        bad = branch.push("2.2.0", "crash")
        assert look(host) == "exit-code 1"
        assert current(host) == good
        reason = "nous.service crashes"
        assert (row(host)[0], f"{bad} does not serve: {reason}; {good} serves again" in row(host)[1]) == ("warn", True), row(host)
        state = untouched(host)
        assert look(host) == "exit-code 1"
        assert untouched(host) == state, "a commit that failed was tried again"
        assert (row(host)[0], "it was found bad: with these settings, nous.service crashes" in row(host)[1]) == ("warn", True), row(host)

        # The timer does the same, and the next commit is taken.
        better = branch.push("2.3.0")
        host.put("/etc/systemd/system/nous-follow.timer.d/test.conf", "[Timer]\nOnCalendar=\nOnCalendar=*:*:*\nRandomizedDelaySec=0\nAccuracySec=1ms\n")
        host.sh("systemctl daemon-reload; systemctl restart nous-follow.timer")
        wait(lambda: current(host) == better, "the timer to take the next commit")
        host.sh("rm -r /etc/systemd/system/nous-follow.timer.d; systemctl daemon-reload; systemctl restart nous-follow.timer")
        wait(lambda: host.show("ActiveState", "nous-follow.service") == "inactive", "the look to end")
    load.assert_nothing_failed()

    host.sh("mv /srv/nous.git /srv/away.git")
    state = untouched(host)
    assert look(host) == "exit-code 2"
    assert host.answers()
    status, said = row(host)
    assert (status, said.count("\n"), f"main of {URL} cannot be looked at: fatal: " in said) == ("fail", 0, True), said

    # Nor does a run of the role ask the repository, or go back to an older commit.
    run = host.play(**FOLLOWING)
    assert "changed=0 " in run.stdout, run.stdout[-4000:]
    assert untouched(host) == state
    host.sh("mv /srv/away.git /srv/nous.git")
