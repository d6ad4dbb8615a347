"""What keeps a server that goes wrong from taking the host with it: its limits, and the pace of a crash loop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from controller import wait
from host import PROXY, UNIT, Host, only_full
from loads import FULL

FLUSH = "nous-state-flush.service"
LIMITS = ("MemoryMax", "TasksMax", "LimitNOFILE", "LimitCORE")
CRASH = f"/run/systemd/system/{UNIT}.d/crash.conf"
CRASHES = 10 if FULL else 5
LONGEST = 30  # seconds between an end and the next start, however long it goes on


@pytest.mark.parametrize("unit", [UNIT, PROXY, FLUSH])
def test_limits_are_what_systemd_has(host: Host, unit: str) -> None:
    """The control groups of a container may not enforce memory and tasks, so they are read back; what the kernel itself holds is read there."""
    limits = {name: host.show(name, unit) for name in LIMITS}
    print(f"{unit}: {limits}")
    assert 2**26 <= int(limits["MemoryMax"]) <= 2**31
    assert 16 <= int(limits["TasksMax"]) <= 128
    assert 1024 <= int(limits["LimitNOFILE"]) <= 8192
    assert limits["LimitCORE"] == "0"
    if unit != FLUSH:
        held = host.sh(f"cat /proc/{host.show('MainPID', unit)}/limits")
        rows = {line[:26].strip(): line[26:].split() for line in held.splitlines()}
        assert rows["Max core file size"][:2] == ["0", "0"]
        assert rows["Max open files"][:2] == [limits["LimitNOFILE"]] * 2


@pytest.fixture
def crashing(host: Host) -> Iterator[float]:
    """Let the server end as soon as it is started; say since when."""
    since = time.monotonic()
    host.put(CRASH, '[Service]\nExecStart=\nExecStart=/opt/nous/current/venv/bin/python -c "raise SystemExit(1)"\n')
    host.sh(f"systemctl daemon-reload; systemctl restart --no-block {UNIT}")
    try:
        yield since
    finally:
        host.sh(f"rm -r $(dirname {CRASH}); systemctl daemon-reload; systemctl restart {UNIT}")
        wait(host.answers, "the server to answer again")


def pauses_in(journal: list[dict[str, Any]]) -> list[float]:
    """Return how long systemd waited between each end of the server and the next start."""
    found, ended = [], 0.0
    for line in journal:
        at, output = int(line["__MONOTONIC_TIMESTAMP"]) / 1e6, str(line.get("MESSAGE"))
        if "Failed with result" in output:
            ended = at
        elif "Scheduled restart job" in output and ended:
            found.append(at - ended)
    return found


@only_full("it waits for five crashes, and how long systemd waits is systemd's own")
def test_a_crash_loop_slows_down_never_ends_and_is_seen(host: Host, crashing: float) -> None:
    wait(lambda: int(host.show("NRestarts")) >= CRASHES, f"{CRASHES} crashes", patience=300)
    pauses = pauses_in(host.journal(crashing))
    print("seconds that systemd waited before it started the server again:", " ".join(f"{pause:.1f}" for pause in pauses))
    assert len(pauses) >= CRASHES - 1
    assert pauses[-1] > 4 * pauses[0]
    assert max(pauses) < LONGEST + 5
    assert not FULL or min(pauses[-2:]) > LONGEST - 1
    # It goes on, and nothing puts an end to it.
    wait(lambda: host.show("SubState") == "auto-restart", "another start to be awaited")
    assert host.show("StartLimitIntervalUSec") == "0"
    assert host.show("Restart") == "always"
    # Who looks, sees it.
    warned = host.journal(crashing, UNIT, "--priority=warning")
    assert len(warned) >= CRASHES - 1
    rows = host.check()
    assert (rows["health"], rows["crashes"]) == ("fail", "fail")


def test_the_host_is_healthy(host: Host) -> None:
    wait(host.answers, "the server to answer")
    rows = host.rows()
    assert {f"sandbox of {unit}" for unit in (UNIT, PROXY, FLUSH)} <= rows.keys()
    assert {name: row for name, row in rows.items() if row[0] != "ok"} == {}
