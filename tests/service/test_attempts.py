"""What a server that was taken over can still do, and another local user: each attempt is refused, and seen to succeed where nothing refuses it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import attempts
import pytest
from host import REPOSITORY, UNIT, Host

TOOL = "/usr/local/lib/nous-vm-test/attempts.py"
SAID = "/usr/local/lib/nous-vm-test/said.json"  # opened by systemd, before the sandbox
CLONE = "nous-attempts.service"
SCRATCH = "/var/tmp/nous-vm-attempts"
UNKNOWN = f"/run/systemd/system/{UNIT}.d/unknown.conf"
README = REPOSITORY / "collections/ansible_collections/nous/vm/roles/nous_service/docs.md"
# The clone lives in the server's unit's text; only what makes it a server is taken away, and what is run is another.
DROPPED = ("ExecStart", "ExecStop", "ExecStopPost", "ExecStartPost", "ExecReload", "Restart", "RestartSec", "RestartSteps", "RestartMaxDelaySec", "Type")


def place(host: Host) -> dict[str, Any]:
    release = host.sh("readlink -f /opt/nous/current")
    return {
        "address": host.sh("ip -4 -o address show eth0 | grep -Eo 'inet [0-9.]+' | cut -c6-"),
        "nameserver": host.sh("grep ^nameserver /etc/resolv.conf | head -1 | cut -c12-"),
        "key": "/etc/nous/keys/signing.pem",
        "audit": "/var/log/nous/audit.jsonl",
        "state": "/var/lib/nous",
        "release": release,
        "door": "/run/nous-door/mcp.sock",
        "door_admin": "/run/nous-door-admin/haproxy.sock",
        "lock": "/run/nous-vm-activate.lock",
        "bind": ["127.0.0.1", 8088],
        "pid": int(host.show("MainPID", UNIT)),
        "caddy": int(host.show("MainPID", "caddy.service")),
    }


def encoded(where: dict[str, Any]) -> str:
    return base64.b64encode(json.dumps(where).encode()).decode()


def clone(unit: str, release: str, where: dict[str, Any]) -> str:
    """Return the server's unit as it is, but for what is run in it."""
    kept = [line for line in unit.splitlines() if line.split("=")[0] not in DROPPED and not line.startswith(("[Install]", "WantedBy", "Also", "Upholds"))]
    streams = f"StandardInput=file:{TOOL}\nStandardOutput=truncate:{SAID}\nStandardError=journal\n"
    run = f"[Service]\nType=oneshot\nExecStart={release}/venv/bin/python - server\n{streams}"
    return "\n".join(kept) + f"\n{run}Environment=NOUS_VM_ATTEMPTS={encoded(where)}\n"


def exposed(host: Host, unit: str) -> dict[str, Any]:
    """Return what systemd itself says of a unit's sandbox, setting by setting."""
    return {each["name"] or each["json_field"]: each["set"] for each in json.loads(host.sh(f"systemd-analyze security --no-pager --json=short {unit}"))}


@pytest.fixture(scope="module")
def found(host: Host) -> dict[str, dict[str, str]]:
    """Try everything: in a clone of the server's unit, as another user, and as root."""
    where = place(host)
    host.put(TOOL, Path(attempts.__file__).read_text(encoding="utf-8"))
    host.sh("mkdir -p /home/ops")
    unit = host.sh(f"systemctl cat {UNIT}")
    host.put(f"/run/systemd/system/{CLONE}", clone(unit, "/opt/nous/current", where))
    host.sh("systemctl daemon-reload")
    try:
        assert exposed(host, CLONE) == exposed(host, UNIT), "the clone is not in the server's sandbox"
        host.sh(f"systemctl start {CLONE}")
    finally:
        host.sh(f"rm -f /run/systemd/system/{CLONE}; systemctl daemon-reload")
    user = host.sh(f"NOUS_VM_ATTEMPTS={encoded(where)} python3 {TOOL} user", user="ops")
    host.sh(f"rm -rf {SCRATCH}; mkdir -p {SCRATCH}/auth; cd {SCRATCH}; touch state.db auth/tokens.json; echo scratch > audit.jsonl")
    outside = where | {"audit": f"{SCRATCH}/audit.jsonl", "state": SCRATCH, "release": SCRATCH}
    control = host.sh(f"NOUS_VM_ATTEMPTS={encoded(outside)} python3 {TOOL} control")
    return {"refused": json.loads(host.sh(f"cat {SAID}")) | json.loads(user), "control": json.loads(control)}


def test_everything_is_refused(found: dict[str, dict[str, str]]) -> None:
    print()
    wrong = []
    for attempt in attempts.ATTEMPTS:
        name = f"{attempt.who}: {attempt.what}"
        seen, control = found["refused"][name], found["control"].get(name, "-")
        print(f"{name:55} {seen:20} control: {control}")
        if seen not in attempt.refused.split():
            wrong.append(f"{name}: {seen}, not {attempt.refused}")
    assert len(attempts.ATTEMPTS) >= 25
    assert wrong == []


def test_every_attempt_can_succeed(found: dict[str, dict[str, str]]) -> None:
    """A refusal means nothing of what fails everywhere."""
    wanted = {f"{each.who}: {each.what}": each.control for each in attempts.ATTEMPTS if each.control != attempts.NONE}
    assert {name: seen for name, seen in found["control"].items() if seen != wanted[name]} == {}


def test_readme_shows_the_table() -> None:
    assert attempts.table().strip() in README.read_text(encoding="utf-8")


def test_no_directive_is_ignored(host: Host) -> None:
    """What this host's systemd does not know it ignores, and who looks is told."""
    print(host.sh("systemctl --version | head -1"))
    assert host.rows()["directives"] == ("ok", "all known to this systemd")
    host.put(UNKNOWN, "[Service]\nProtectEverything=yes\n")
    host.sh("systemctl daemon-reload")
    try:
        assert host.rows()["directives"] == ("warn", "ignored by this systemd: ProtectEverything")
    finally:
        host.sh(f"rm -r $(dirname {UNKNOWN}); systemctl daemon-reload")
