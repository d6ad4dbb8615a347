"""What a server, its flush or its proxy that was taken over can still do, and another local user: all is denied, and succeeds where nothing denies it."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import attempts
import pytest
import ways
from controller import REPOSITORY
from host import PROXY, UNIT, Host

TOOL = "/usr/local/lib/nous-vm-test/attempts.py"
OUTPUT = "/usr/local/lib/nous-vm-test/output.json"  # opened by systemd, before the sandbox
CLONE = "nous-attempts.service"
PYTHON = "/opt/nous/current/venv/bin/python"
SCRATCH = "/var/tmp/nous-vm-attempts"
UNKNOWN = f"/run/systemd/system/{UNIT}.d/unknown.conf"
README = REPOSITORY / "collections/ansible_collections/nous/vm/roles/nous_service/threat-model.md"
# The clone lives in the unit's text; only what makes it a service is taken away, and what is run is another.
DROPPED = (
    *("ExecStart", "ExecStop", "ExecStopPost", "ExecStartPost", "ExecReload", "Restart", "RestartSec", "RestartSteps", "RestartMaxDelaySec", "Type"),
    *("RuntimeDirectory", "RuntimeDirectoryMode"),
)


class Other(NamedTuple):
    """A unit in the server's sandbox that lets in what is asked for here, and no more."""

    unit: str
    python: str  # where the sandbox has none, it is let in
    may: tuple[str, ...]
    where: dict[str, Any]
    also: str  # errors that are a denial for want of the family of sockets, or of the file


OTHERS = {
    "flush": Other("nous-state-flush.service", PYTHON, ("open a unix socket",), {}, "EAFNOSUPPORT"),
    "proxy": Other(PROXY, "", ("open a unix socket",), {"state": "/tmp", "release": "/usr/lib", "own": "/usr/sbin/haproxy"}, "ENOENT"),
}


def place(host: Host) -> dict[str, Any]:
    release = host.sh("readlink -f /opt/nous/current")
    return {
        "address": host.sh("ip -4 -o address show eth0 | grep -Eo 'inet [0-9.]+' | cut -c6-"),
        "nameserver": host.sh("grep ^nameserver /etc/resolv.conf | head -1 | cut -c12-"),
        "key": "/etc/nous/keys/signing.pem",
        "audit": "/var/log/nous/audit.jsonl",
        "state": "/var/lib/nous",
        "release": release,
        "own": host.sh(f"readlink -f {PYTHON}"),
        "proxy": "/run/nous-proxy/mcp.sock",
        "proxy_admin": "/run/nous-proxy-admin/haproxy.sock",
        "lock": "/run/nous-vm/deployment.lock",
        "bind": ["127.0.0.1", 8088],
        "pid": int(host.show("MainPID", UNIT)),
        "caddy": int(host.show("MainPID", "caddy.service")),
    }


def encoded(where: dict[str, Any]) -> str:
    return base64.b64encode(json.dumps(where).encode()).decode()


def clone(unit: str, python: str, where: dict[str, Any]) -> str:
    """Return a unit as it is, but for what is run in it."""
    kept = [line for line in unit.splitlines() if line.split("=")[0] not in DROPPED and not line.startswith(("[Install]", "WantedBy", "Also", "Upholds"))]
    streams = f"StandardInput=file:{TOOL}\nStandardOutput=truncate:{OUTPUT}\nStandardError=journal\n"
    run = f"[Service]\nType=oneshot\nExecStart={python} - server\n{streams}"
    return "\n".join(kept) + f"\n{run}Environment=NOUS_VM_ATTEMPTS={encoded(where)}\n"


def program() -> str:
    """Return the program as one file, which a unit reads from its standard input."""
    parts = (Path(str(each.__file__)).read_text(encoding="utf-8") for each in (ways, attempts))
    return "".join(re.sub(r"^from ways import [(].*?^[)]$", "", part, flags=re.MULTILINE | re.DOTALL) for part in parts)


def tried(host: Host, unit: str, python: str, where: dict[str, Any]) -> dict[str, str]:
    """Try everything in a clone of a unit."""
    host.put(TOOL, program())
    let_in = ""
    if not python:
        python = host.sh("readlink -f /usr/bin/python3")
        let_in = f"BindReadOnlyPaths={python}\nExecPaths=+{python}\n"
    host.put(f"/run/systemd/system/{CLONE}", clone(host.sh(f"systemctl cat {unit}"), python, where) + let_in)
    host.sh("systemctl daemon-reload")
    try:
        assert exposed(host, CLONE) == exposed(host, unit), f"the clone is not in the sandbox of {unit}"
        host.sh(f"systemctl start {CLONE}")
    finally:
        host.sh(f"rm -f /run/systemd/system/{CLONE}; systemctl daemon-reload")
    found: dict[str, str] = json.loads(host.sh(f"cat {OUTPUT}"))
    return found


def exposed(host: Host, unit: str) -> dict[str, Any]:
    """Return what systemd itself says of a unit's sandbox, setting by setting."""
    return {each["name"] or each["json_field"]: each["set"] for each in json.loads(host.sh(f"systemd-analyze security --no-pager --json=short {unit}"))}


@pytest.fixture(scope="module")
def found(host: Host) -> dict[str, dict[str, str]]:
    """Try everything: in a clone of the server's unit, as another user, and as root."""
    where = place(host)
    host.sh("mkdir -p /home/ops")
    inside = tried(host, UNIT, PYTHON, where)
    user = host.sh(f"NOUS_VM_ATTEMPTS={encoded(where)} python3 {TOOL} user", user="ops")
    host.sh(f"rm -rf {SCRATCH}; mkdir -p {SCRATCH}/auth; cd {SCRATCH}; touch state.db auth/tokens.json; echo scratch > audit.jsonl")
    outside = where | {"audit": f"{SCRATCH}/audit.jsonl", "state": SCRATCH, "release": SCRATCH}
    control = host.sh(f"NOUS_VM_ATTEMPTS={encoded(outside)} python3 {TOOL} control")
    return {"denied": inside | json.loads(user), "control": json.loads(control)}


def test_everything_is_denied(found: dict[str, dict[str, str]]) -> None:
    print()
    wrong = []
    for attempt in attempts.ATTEMPTS:
        name = f"{attempt.who}: {attempt.what}"
        seen, control = found["denied"][name], found["control"].get(name, "-")
        print(f"{name:55} {seen:20} control: {control}")
        if seen not in attempt.denied.split():
            wrong.append(f"{name}: {seen}, not {attempt.denied}")
    assert len(attempts.ATTEMPTS) >= 25
    assert wrong == []


@pytest.mark.parametrize("name", OTHERS)
def test_the_other_units_are_as_closed(host: Host, name: str) -> None:
    other = OTHERS[name]
    seen = tried(host, other.unit, other.python, place(host) | other.where)
    wrong = {}
    for attempt in attempts.ATTEMPTS:
        wanted = ways.SUCCEEDED if attempt.what in other.may else f"{attempt.denied} {other.also}"
        if attempt.who == "server" and seen[f"server: {attempt.what}"] not in wanted.split():
            wrong[attempt.what] = f"{seen[f'server: {attempt.what}']}, not {wanted}"
    assert wrong == {}


def test_every_attempt_can_succeed(found: dict[str, dict[str, str]]) -> None:
    """A denial means nothing of what fails everywhere."""
    wanted = {f"{each.who}: {each.what}": each.control for each in attempts.ATTEMPTS if each.control != ways.NONE}
    assert {name: seen for name, seen in found["control"].items() if seen != wanted[name]} == {}


def test_threat_model_shows_the_table() -> None:
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
