"""The stand-in for nous, as its role runs it, under the load of MCP clients: every record that it reported as written is there, in one chain."""

from __future__ import annotations

import json
from typing import Any

Host = Any
NONE: list[str] = []
LOG = "/var/log/nous/audit.jsonl"
REPORTED = "/run/rotation-test/reported"
LOAD = "rotation-load.service"
# chain.walk follows every link, oldest record first, and raises where one does not lead on: lost, torn, doubled or changed.
LOOK = """
import json, pathlib, sys
import chain
log, reported = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).read_text().split()
files = chain.files(log)
there = {record["entry_hash"] for record in chain.walk(files)}
print(json.dumps({"segments": len(files) - 1, "records": len(there), "reported": len(reported), "missing": [one for one in reported if one not in there]}))
"""
NOUS = {"name": "nous", "writer": "nous.service"}


def test_the_server_under_load(server: Host, full: bool) -> None:
    """Rotated while clients call it; in between it is restarted, killed, and flushed."""
    python, tools = "/opt/nous/current/venv/bin/python", "/usr/local/lib/rotation-test"
    server.sh(f"systemd-run --quiet --unit={LOAD} {python} {tools}/load.py https://nous.example.org /run/nous-proxy/mcp.sock 4 {REPORTED}")
    rounds, each = (25, 4) if full else (3, 1)
    for number in range(rounds):
        # A hundred more records each time, by clients that are still being answered.
        server.sh(f"touch {REPORTED}; had=$(wc -l < {REPORTED}); until [ $(wc -l < {REPORTED}) -gt $((had + 100)) ]; do sleep 0.1; done")
        assert server.drive(rotations=each, pause=0.2, **NOUS)["wrong"] == NONE
        how = ("restart nous.service", "kill --signal=SIGKILL nous.service", "start --no-block nous-state-flush.service")[number % 3]
        server.sh(f"systemctl {how}")
        server.sh("until systemctl is-active --quiet nous.service; do sleep 0.05; done")
    server.sh(f"systemctl stop {LOAD} nous.service")
    found = json.loads(server.out("env", f"PYTHONPATH={tools}", "python3", "-c", LOOK, LOG, REPORTED))
    assert found["missing"] == [], found
    assert found["reported"] > 100 * rounds
    assert found["segments"] == rounds * each
