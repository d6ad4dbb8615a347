"""The guard on a real host: a full disk, a torn record, and what the server loses when it does not know. No answer without a record."""

from __future__ import annotations

import json
from typing import Any

from test_server import answered, load, look

Host = Any
PROBE = "curl --silent --output /dev/null --write-out %{http_code} --max-time 5 --unix-socket /run/nous-proxy/mcp.sock http://nous.example.org/"


def status(server: Host) -> str:
    """Return what the local proxy answers to somebody without a token: 401 of the server, or 503."""
    return str(server.sh(f"{PROBE} || true"))


def wait_for(server: Host, code: str, seconds: float) -> None:
    server.sh(f"timeout {seconds} sh -c 'until [ \"$({PROBE})\" = {code} ]; do sleep 0.02; done'")


def stop(server: Host) -> None:
    server.sh("systemctl stop rotation-load-note")


def test_a_full_disk_costs_no_record(server: Host, full: bool) -> None:
    """Filled under load; what was under way goes into the room that was kept. Killed and started anew meanwhile, and back within 2 s of space."""
    load(server, size=20_000)
    answered(server, 20)
    for number in range(10 if full else 1):
        server.sh("for block in 64k 4k; do dd if=/dev/zero of=/var/log/nous/fill bs=$block oflag=append conv=notrunc 2>&1 || true; done")
        if number % 2:
            server.sh("systemctl kill --signal=SIGKILL nous.service; until systemctl is-active --quiet nous.service; do sleep 0.05; done")
        answered(server, 20)  # there is room
        wait_for(server, "503", 30)
        stop(server)
        assert look(server)["missing"] == []
        rows = {row["name"]: row for row in json.loads(server.run("nous-vm", "check", "--json", check=False).stdout)["rows"]}
        assert rows["answers are recorded (nous)"]["status"] == "fail"
        assert "No space left on device; traffic is rejected" in rows["answers are recorded (nous)"]["detail"]
        server.sh("rm /var/log/nous/fill")
        wait_for(server, "401", 2)
        load(server, size=20_000)
        answered(server, 20)
    stop(server)
    found = look(server)
    assert found["missing"] == []
