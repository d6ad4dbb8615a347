"""A host that follows a branch: what is pushed to it is taken, or not, while clients go on; nobody is there but the timer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from controller import wait
from host import Branch, Host

ROOT = "/opt/nous"


def look(host: Host) -> str:
    """Look once, as the timer does; return how the unit ended."""
    host.sh("systemctl start nous-follow.service", check=False)
    return f"{host.show('Result', 'nous-follow.service')} {host.show('ExecMainStatus', 'nous-follow.service')}"


def current(host: Host) -> str:
    return host.sh(f"basename $(readlink {ROOT}/current)")


def untouched(host: Host) -> Any:
    """Return what changes if anything is built, stopped or started."""
    return host.show("MainPID"), host.show("InvocationID"), set(host.sh(f"find {ROOT} -printf '%p %T@ %C@\\n'").splitlines())


def row(host: Host) -> tuple[str, str]:
    """Return what nous-vm check prints of the newest commit."""
    output = json.loads(host.sh("/usr/local/sbin/nous-vm check --json || true"))
    (found,) = [(row["status"], row["detail"]) for row in output["rows"] if row["name"] == "newest commit"]
    return found


@pytest.fixture
def branch(host: Host) -> Iterator[Branch]:
    """The host follows the branch; afterwards it is as it was, and nothing is left of that."""
    branch = Branch(host)
    first = branch.push("2.0.0")
    run = host.play(**branch.followed)
    assert run.returncode == 0, run.stdout[-4000:]
    assert current(host) == first
    yield branch
    run = host.play()
    assert run.returncode == 0, run.stdout[-4000:]
    left = host.sh("ls /etc/systemd/system/ /etc/systemd/system/*.wants /usr/local/sbin; systemctl list-units --all --no-legend 'nous-*'")
    assert "follow" not in left, left
    assert current(host).startswith("archive-")
    host.sh(f"rm -rf /srv/nous.git {ROOT}/releases/git-*")


def test_a_branch_is_followed(host: Host, branch: Branch) -> None:
    good = current(host)
    assert look(host) == "success 0"
    rows = host.check()
    assert rows["newest commit"] == rows["follow timer"] == rows["sandbox of nous-follow.service"] == "ok"
    with host.load() as load:
        bad = branch.push("2.1.0", "crash")
        assert look(host) == "exit-code 1"
        assert current(host) == good
        reason = "nous.service crashes"
        assert (row(host)[0], f"{bad} is not deployed: {reason}; {good} answers again" in row(host)[1]) == ("warn", True), row(host)
        # Even when nothing is left of it but the note that it failed.
        host.sh(f"find {ROOT}/releases/{bad} -mindepth 1 -maxdepth 1 -not -name failed.json -exec rm -r {{}} +")
        state = untouched(host)
        assert look(host) == "exit-code 1"
        assert untouched(host) == state, "a commit that failed was tried again"
        assert (row(host)[0], "it failed: with these settings, nous.service crashes" in row(host)[1]) == ("warn", True), row(host)

        # The timer does the same, and the next commit is taken.
        better = branch.push("2.2.0")
        host.put("/etc/systemd/system/nous-follow.timer.d/test.conf", "[Timer]\nOnCalendar=\nOnCalendar=*:*:*\nRandomizedDelaySec=0\nAccuracySec=1ms\n")
        host.sh("systemctl daemon-reload; systemctl restart nous-follow.timer")
        wait(lambda: f"{better} is deployed, the newest" in host.sh("journalctl --unit=nous-follow --lines=9"), "the timer to take the next commit", 300)
        host.sh("rm -r /etc/systemd/system/nous-follow.timer.d; systemctl daemon-reload; systemctl restart nous-follow.timer")
        assert current(host) == better
    load.assert_nothing_failed()

    host.sh("mv /srv/nous.git /srv/away.git")
    state = untouched(host)
    assert look(host) == "exit-code 2"
    assert host.answers()
    status, output = row(host)
    assert (status, output.count("\n"), f"main of {branch.url} cannot be queried: fatal: " in output) == ("fail", 0, True), output

    # Nor does a run of the role ask the repository, or go back to an older commit.
    run = host.play(**branch.followed)
    assert run.returncode == 0 and "changed=0 " in run.stdout, run.stdout[-4000:]
    assert untouched(host) == state
    host.sh("mv /srv/away.git /srv/nous.git")
