"""Restarts, kills and stalled clients, under 200 requests a second: what clients see, and what the server says it executed."""

from __future__ import annotations

import contextlib
import socket
import statistics
import time
from collections.abc import Iterator

import pytest
from host import DOOR, FULL, PATIENCE, UNIT, Host, Load, Stream, wait
from load import call
from wire import HOST, VENDOR

TIMES = 20 if FULL else 5
STARTED = "Uvicorn running on"


def pid(host: Host, unit: str = UNIT) -> str:
    return host.show("MainPID", unit)


def restarts(host: Host, load: Load, unit: str, times: int) -> list[tuple[float, float]]:
    """Restart a unit again and again, each time when the load has settled; return when each began and ended."""
    found = []
    for _ in range(times):
        before, begun = pid(host, unit), time.monotonic()
        host.sh(f"systemctl restart {unit}")
        found.append((begun, time.monotonic()))
        assert pid(host, unit) != before
        load.settle()
    return found


def assert_streams_came_back(load: Load, spans: list[tuple[float, float]]) -> list[Stream]:
    """Every stream that an interruption ended, it ended at once, and the next one was there soon after the server was."""
    ended = [each for each in load.streams if each.how != "open"]
    assert [each for each in ended if each.how not in ("clean", "cut")] == []
    assert len(ended) >= len(spans)  # at least one stream was open each time
    return ended


def test_restarts_fail_no_request(host: Host) -> None:
    with host.load() as load:
        spans = restarts(host, load, UNIT, TIMES)
    load.assert_nothing_failed()
    assert_streams_came_back(load, spans)


def test_restarts_of_the_door_fail_no_request(host: Host) -> None:
    server = pid(host)
    with host.load() as load:
        spans = restarts(host, load, DOOR, 3)
    load.assert_nothing_failed()
    assert_streams_came_back(load, spans)
    assert pid(host) == server, "the server does not live and die with its door"


def started(host: Host, since: float) -> tuple[float, float]:
    """Return when systemd started the server and when the server said that it serves."""
    said = wait(lambda: [line for line in host.journal(since) if STARTED in str(line.get("MESSAGE"))], "the server to say that it serves")
    return int(host.show("ExecMainStartTimestampMonotonic")) / 1e6, int(said[0]["__MONOTONIC_TIMESTAMP"]) / 1e6


def test_killed_it_is_back_within_its_own_start_time(host: Host) -> None:
    """Half a second is all that is added to what a start takes; a call that was being executed may fail, once, and nothing else."""
    kills, starts = [], []
    with host.load() as load:
        for _ in range(TIMES):
            host.sh(f"systemctl reset-failed {UNIT}")  # as if they were far apart: in a row, each waits longer than the one before
            begun = time.monotonic()
            host.sh(f"systemctl kill --signal=KILL {UNIT}")
            kills.append((begun, time.monotonic()))
            starts.append(started(host, begun))
            load.settle()
    print(load)
    for (begun, _), (exec_, serves) in zip(kills, starts, strict=True):
        outage = load.first_answer(begun + 0.2) - begun
        print(f"killed: started after {exec_ - begun:.2f} s, start {serves - exec_:.2f} s, answered after {outage:.2f} s")
    added = [load.first_answer(begun + 0.2) - begun - (serves - exec_) for (begun, _), (exec_, serves) in zip(kills, starts, strict=True)]
    assert statistics.median(added) <= 0.5
    in_flight = [each for each in load.failed if any(each.begun <= end and each.ended >= begun for begun, end in kills)]
    assert [each for each in load.failed if each.method == "GET" or each not in in_flight] == []
    load.assert_record()
    assert host.query("PRAGMA integrity_check") == [["ok"]]


def test_killed_while_calls_are_being_executed(host: Host) -> None:
    """A call whose execution is seen in the server's record, and that the kill cut off, failed and was not executed again."""
    number = f"cut{time.monotonic_ns()}"
    with call_in_flight(host, "slow", seconds=PATIENCE, call_id=number) as connection:
        wait(lambda: host.query(f"SELECT count(*) FROM executed WHERE call_id = '{number}'") == [[1]], "the call to be begun")
        host.sh(f"systemctl kill --signal=KILL {UNIT}")
        received = connection.recv(65536)
        assert b"200 OK" not in received.split(b"\r\n")[0]
    wait(host.answers, "the server to answer again")
    with host.load() as load:  # whatever waited for the server was handed on by now
        pass
    load.assert_nothing_failed()
    assert host.query(f"SELECT count(*) FROM executed WHERE call_id = '{number}'") == [[1]]


def test_killed_door(host: Host) -> None:
    """What was under way through it is cut; nothing is executed twice, and it is back at once."""
    server = pid(host)
    with host.load() as load:
        for _ in range(3):
            before, begun = pid(host, DOOR), time.monotonic()
            host.sh(f"systemctl kill --signal=KILL {DOOR}")
            wait(lambda before=before: pid(host, DOOR) not in ("0", before), "the door to be back")
            load.settle()
            assert load.process.poll() is None and time.monotonic() - begun < PATIENCE
    print(load)
    assert all(each.outcome in ("cut", "5xx") for each in load.failed)
    assert len(load.failed) < 0.05 * len(load.requests)
    load.assert_record()
    assert pid(host) == server


@contextlib.contextmanager
def call_in_flight(host: Host, tool: str, **arguments: object) -> Iterator[socket.socket]:
    """Call a tool through the gate and do not wait for the answer."""
    with host.client.secure(VENDOR) as connection:
        connection.settimeout(PATIENCE)
        connection.sendall(call(host.token, tool, arguments))
        yield connection


BODY_WITHOUT_END = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer TOKEN\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{{"
HEAD_WITHOUT_END = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nX-Endless: "
# As Caddy's account, so past Caddy, which would hold such heads back: what the door and the server make of them.
STALL_AT_THE_DOOR = """
import socket, sys
kept = []
for _ in range(20):
    kept.append(socket.socket(socket.AF_UNIX))
    kept[-1].connect(sys.argv[1])
    kept[-1].sendall(sys.argv[2].encode())
print("stalled", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("sent", [BODY_WITHOUT_END, HEAD_WITHOUT_END], ids=["bodies", "heads"])
@pytest.mark.parametrize("where", ["gate", "door"])
def test_stalled_clients_hold_no_stop(host: Host, sent: str, where: str) -> None:
    """Twenty clients that began and never go on: a stop takes at most 5 s, a restart fails nobody else."""
    sent = sent.replace("TOKEN", host.token)
    with contextlib.ExitStack() as stalled:
        if where == "gate":
            for _ in range(20):
                stalled.enter_context(host.client.secure(VENDOR)).sendall(sent.encode())
        else:
            stalled.enter_context(host.running("caddy", STALL_AT_THE_DOOR, host.show("Listen", "nous-door.socket").split()[0], sent))
        with host.load() as load:
            begun = time.monotonic()
            host.sh(f"systemctl restart {UNIT}")
            took = time.monotonic() - begun
            load.settle()
        load.assert_nothing_failed()
        begun = time.monotonic()
        host.sh(f"systemctl stop {UNIT}")
        took = max(took, time.monotonic() - begun)
        host.sh(f"systemctl start {UNIT}")
    print(f"a stop beside 20 stalled clients took {took:.2f} s")
    wait(host.answers, "the server to answer again")
    assert took <= 5


def test_a_call_that_takes_long_is_waited_for(host: Host) -> None:
    """A planned stop lets a call that was being executed end."""
    number = f"long{time.monotonic_ns()}"
    with call_in_flight(host, "slow", seconds=1, call_id=number) as connection:
        wait(lambda: host.query(f"SELECT count(*) FROM executed WHERE call_id = '{number}'") == [[1]], "the call to be begun")
        host.sh(f"systemctl restart {UNIT}")
        received = connection.recv(65536)
    assert received.startswith(b"HTTP/1.1 200"), received
    assert number.encode() in received
