"""Settings reach the server as they were written, whatever is in them on their one line, and nobody else. (What is rejected: molecule/nous_service.)"""

from __future__ import annotations

import base64
import subprocess
from typing import Any

from host import Host, only_full, only_on

# Canaries are plain, so that they are found however what stands around them is quoted.
NASTY = "a 'b' \"c\" $HOME ${HOME} `id` 100% %n \\n \\ # ; = é 猫 CANARY é  CANARY "
KEPT = ["/etc/nous/secrets.env"]  # where root alone finds it


def wish(canary: str) -> dict[str, Any]:
    """Return settings and a secret of which the secret alone has the canary."""
    url = f"sqlite:////var/lib/nous/state.db?note={NASTY.replace('CANARY', canary)}"
    return {"nous_service_settings": {"NOUS_POLICY_ALLOW": NASTY, "NOUS_POLICY_DENY": ""}, "nous_service_secrets": {"NOUS_DB_URL": url}}


def environment(host: Host) -> dict[str, str]:
    pid = host.show("MainPID")
    text = base64.b64decode(host.sh(f"base64 --wrap=0 /proc/{pid}/environ")).decode()
    return dict(each.split("=", 1) for each in text.split("\0") if each)


def assert_kept(host: Host, run: subprocess.CompletedProcess[str], canary: str, files: list[str]) -> None:
    """A secret is in these files and nowhere else: not in what Ansible printed, not in the journal, the kernel's and the audit's lines included."""
    output = run.stdout + run.stderr
    assert "+NOUS_POLICY_DENY=" in output, "what is no secret is shown"
    assert [line[:2000] for line in output.splitlines() if canary in line] == []
    journal = "journalctl --quiet --all --output=export"
    assert host.sh(f"{journal} | grep -ac 'Invoked with'") != "0", "modules write to the journal what they are given"
    assert host.sh(f"{journal} | grep -a {canary} | head -c 2000") == ""
    assert sorted(host.sh(f"find / /run /dev/shm -xdev -type f -exec grep -lasF {canary} {{}} + || true").split()) == files
    assert {host.sh(f"stat -c '%a %U:%G' {file}") for file in files} <= {"600 root:root"}


@only_on("debian-testing", "two runs of the site")
def test_any_value(host: Host) -> None:
    canary = "canary7f3a9c51"
    wished = wish(canary)
    run = host.play("site", "-vvv", "--diff", **wished)
    assert run.returncode == 0, run.stdout[-4000:]
    seen = environment(host)
    assert seen["NOUS_POLICY_ALLOW"] == NASTY
    assert seen["NOUS_POLICY_DENY"] == ""
    assert seen["NOUS_DB_URL"] == wished["nous_service_secrets"]["NOUS_DB_URL"]
    assert_kept(host, run, canary, KEPT)
    started = host.show("ActiveEnterTimestamp")
    again = host.play(**wished)
    assert "changed=0 " in again.stdout, again.stdout[-4000:]
    assert host.show("ActiveEnterTimestamp") == started, "a setting that did not change restarted the server"


@only_full("two runs of the site")
def test_a_secret_of_a_candidate_that_failed_is_in_no_copy(host: Host) -> None:
    """It is what the role requests, and has a line of its own: a rollback brings no revoked one back."""
    before, canary = host.play(), "canary51c9a3f7"
    assert before.returncode == 0, before.stdout[-4000:]
    run = host.play("site", "-vvv", "--diff", **wish(canary) | {"nous_service_archive": str(host.pack("1.5.0", "crash"))})
    assert run.returncode != 0 and "is not deployed" in run.stdout, run.stdout[-4000:]
    assert_kept(host, run, canary, KEPT)
    before = host.play()
    assert before.returncode == 0, before.stdout[-4000:]
