"""Restarts, kills and stalled clients, under 200 requests a second: what clients see, and what the server says it executed."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from collections.abc import Callable, Iterator

import pytest
from controller import PATIENCE, wait
from host import DRAIN, PROXY, UNIT, Host, only_on, rest
from load import call
from loads import FULL, RATE, Load
from test_state import rows
from wire import HOST, VENDOR

TIMES = 20 if FULL else 3
KILLED, STARTED = "status=9/KILL", "Uvicorn running on"


def pid(host: Host, unit: str = UNIT) -> str:
    return host.show("MainPID", unit)


def socket_of(host: Host) -> str:
    return host.show("Listen", "nous-proxy.socket").split()[0]


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


def assert_streams_came_back(load: Load, spans: list[tuple[float, float]]) -> None:
    """No event was torn, no stream ended but in a restart, and the next of its client began when what waited with it was answered, or half as late again.

    A server that is told to stop ends them without HTTP's last chunk (sse-starlette cancels the answer); Caddy 2.6 adds that, later ones do not.
    """
    assert {each.how for each in load.streams} <= {"clean", "between events", "open"}, load
    for client in sorted({each.client for each in load.streams}):
        mine = [each for each in load.streams if each.client == client]
        for before, after in itertools.pairwise(mine):
            assert any(begun <= before.ended <= ended for begun, ended in spans), "a stream ended though nothing was restarted"
            away, waited = after.began - before.ended, max(each.ended for each in load.requests if each.begun <= after.asked <= each.ended) - before.ended
            print(f"event stream {client}: the next began after {away:.2f} s; the last request that waited with it was answered after {waited:.2f} s")
            assert away <= 1.5 * waited
    assert len([each for each in load.streams if each.how != "open"]) >= len(spans)  # at least one was open each time


def test_restarts_fail_no_request(host: Host) -> None:
    with host.load() as load:
        spans = restarts(host, load, UNIT, TIMES)
    load.assert_nothing_failed()
    assert_streams_came_back(load, spans)


def test_restarts_of_the_proxy_fail_no_request(host: Host) -> None:
    server = pid(host)
    with host.load() as load:
        spans = restarts(host, load, PROXY, 3 if FULL else 1)
    load.assert_nothing_failed()
    assert_streams_came_back(load, spans)
    assert pid(host) == server, "the server does not live and die with its proxy"


REFERENCE = "nous-vm-reference.service"  # does nothing, and is started again like the server
PAUSE = 0.1  # seconds that systemd waits before it starts either again


def kill(host: Host, unit: str) -> tuple[float, float, float]:
    """Kill a unit; return from when on, when it was gone, and when systemd started it again."""
    host.sh(f"systemctl reset-failed {unit}")  # as if kills were far apart: in a row, each waits longer than the one before
    since = time.monotonic()
    host.sh(f"systemctl kill --signal=KILL {unit}")

    def started() -> float:
        return int(host.show("ExecMainStartTimestampMonotonic", unit)) / 1e6

    wait(lambda: started() > since, f"{unit} to be started again")
    return since, printed(host, unit, since, KILLED), started()


def printed(host: Host, unit: str, since: float, what: str) -> float:
    """Return when a unit, or systemd about it, first printed something."""

    def lines() -> list[float]:
        return [int(line["__MONOTONIC_TIMESTAMP"]) / 1e6 for line in host.journal(since, unit) if what in str(line.get("MESSAGE"))]

    found: list[float] = wait(lines, f"{unit} to print {what}")
    return found[0]


@pytest.fixture
def lag(host: Host) -> Iterator[Callable[[], float]]:
    """How late systemd is on this machine just now, in seconds: what it takes to start a program that was killed, beyond the pause."""
    host.sh(f"systemd-run --quiet --unit={REFERENCE} --property=Restart=always --property=RestartSec={PAUSE} sleep infinity")

    def measure() -> float:
        _since, gone, begun = kill(host, REFERENCE)
        return begun - gone - PAUSE

    yield measure
    host.sh(f"systemctl stop {REFERENCE}")


def test_killed_it_is_back_within_its_own_start_time(host: Host, lag: Callable[[], float]) -> None:
    """Half a second is all that is added to what a start takes; a call that was being executed may fail, once, and nothing else.

    How late a machine is that does other things too, and how long a request takes on it, is measured under the same load and not the server's.
    """
    kills, lags = [], []
    with host.load() as load:
        for _ in range(TIMES):
            lags.append(lag())
            load.settle()
            since, gone, begun = kill(host, UNIT)
            kills.append((gone, begun, printed(host, UNIT, since, STARTED)))
            load.settle()
    print(load)
    usual = statistics.median(each.took for each in load.requests if not any(each.begun < serves and each.ended > gone for gone, _, serves in kills))
    added = []
    for (gone, begun, serves), late in zip(kills, lags, strict=True):
        outage, start = load.first_answer(gone) - gone, serves - begun
        added.append(outage - start - usual - late)
        print(f"killed: started again after {begun - gone:.2f} s, a start takes {start:.2f} s, answered after {outage:.2f} s: {added[-1]:.2f} s added")
        print(f"        systemd is late by {late:.2f} s, a request takes {usual:.2f} s")
    # Whatever the method: what the server may have seen is not sent again.
    assert [each for each in load.failed if not any(each.begun <= gone <= each.ended + 0.1 for gone, _, _ in kills)] == []
    load.assert_record()
    assert host.query("PRAGMA integrity_check") == [["ok"]]
    assert statistics.median(added) <= 0.5, added


def test_killed_while_calls_are_being_executed(host: Host) -> None:
    """A call whose execution is seen in the server's record, and that the kill cut off, failed and was not executed again."""
    number = f"cut{time.monotonic_ns()}"
    with host.call_in_flight("slow", seconds=PATIENCE, call_id=number) as connection:
        wait(lambda: host.query(f"SELECT count(*) FROM executed WHERE call_id = '{number}'") == [[1]], "the call to be begun")
        host.sh(f"systemctl kill --signal=KILL {UNIT}")
        wait(host.answers, "the server to answer again")
        with host.load() as load:  # whatever waited for the server was handed on by now
            pass
        assert host.query(f"SELECT count(*) FROM executed WHERE call_id = '{number}'") == [[1]], "executed twice"
        received = connection.recv(65536)
        assert b"200 OK" not in received.split(b"\r\n")[0]
    load.assert_nothing_failed()


def test_killed_proxy(host: Host) -> None:
    """What was under way through it is cut, and nothing else; nothing is executed twice, and it is back at once."""
    server, kills = pid(host), []
    with host.load() as load:
        for _ in range(3 if FULL else 1):
            since, gone, _begun = kill(host, PROXY)
            kills.append((since, gone))
            load.settle()
    print(load)
    assert all(each.outcome in ("cut", "half", "5xx") for each in load.failed)
    assert [each for each in load.failed if not any(each.begun <= gone + 0.1 and each.ended >= since for since, gone in kills)] == []
    load.assert_record()
    assert pid(host) == server


POST = f"POST / HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer TOKEN\r\nContent-Type: application/json\r\n"
STALLS = {
    "head": f"{POST}X-Endless: ",
    "body": f"{POST}Content-Length: 100000\r\n\r\n{{",
    # More than the proxy waits for, so that the server has it.
    "long body": f"{POST}Content-Length: 100000\r\n\r\n{{{' ' * 50000}",
    # A whole request, whose answer is more than all sockets on the way hold, and is not read.
    "answer": "",
}
# As Caddy's account, so past Caddy, which would hold such heads back: what the proxy and the server make of them.
STALL_AT_THE_PROXY = """
import socket, sys
kept = []
for _ in range(int(sys.argv[3])):
    kept.append(socket.socket(socket.AF_UNIX))
    kept[-1].connect(sys.argv[1])
    kept[-1].sendall(sys.argv[2].encode())
print("stalled", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("where", "what"),
    [
        pytest.param("gate", "long body", marks=only_on("debian-13", "one of those that reach the server")),
        pytest.param("proxy", "head", marks=only_on("debian-13", "one of those that do not reach the server")),
        pytest.param("gate", "answer", marks=only_on("debian-testing", "one of those that reach the server")),
        pytest.param("gate", "body", marks=only_on("debian-testing", "one of those that do not reach the server")),
        *rest(("gate", "head"), ("proxy", "body"), ("proxy", "long body"), ("proxy", "answer")),
    ],
)
def test_stalled_clients_hold_no_stop(host: Host, where: str, what: str) -> None:
    """Clients that began and never go on: they hold a stop for the drain and a few seconds, if the server knows of them; a restart fails nobody else."""
    reach, clients, sent = what in ("long body", "answer"), 20, STALLS[what].replace("TOKEN", host.token)
    if what == "answer":
        held = sum(int(host.sh(f"cat /proc/sys/net/ipv4/{each}").split()[-1]) for each in ("tcp_rmem", "tcp_wmem"))
        clients, sent = 2, call(host.token, "long", {"size": held}).decode()  # it comes twice, as text and as structure
    with contextlib.ExitStack() as stalled:
        if where == "gate":
            for _ in range(clients):
                stalled.enter_context(host.client.secure(VENDOR)).sendall(sent.encode())
        else:
            stalled.enter_context(host.running("caddy", STALL_AT_THE_PROXY, socket_of(host), sent, str(clients)))
        wait(lambda: host.in_flight() == (clients if reach else 0), "the server to be busy with them")
        with host.load(min(RATE, 50)) as load:  # as many as come in the time of a drain have a place to wait
            busy = host.in_flight()
            begun = time.monotonic()
            host.sh(f"systemctl restart {UNIT}")
            took = time.monotonic() - begun
            load.settle()
        load.assert_nothing_failed()
        assert not reach or busy >= clients, "the server was done with them"
        count, begun = rows(host, "mode=ro"), time.monotonic()
        host.sh(f"systemctl stop {UNIT}")
        took = max(took, time.monotonic() - begun)
        wait(lambda: rows(host, "immutable=1") >= count, "the state to be flushed")
        host.sh(f"systemctl start {UNIT}")
    print(f"a stop beside {clients} stalled clients took {took:.2f} s")
    wait(host.answers, "the server to answer again")
    assert took <= 10 + (DRAIN if reach else 0)


CROWD = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
kept = []
try:
    while len(kept) < 8000:
        kept.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
        kept[-1].connect(sys.argv[1])
except BlockingIOError:
    print(len(kept) - 1, flush=True)
sys.stdin.read()
"""


@only_on("debian-13", "Caddy's and the kernel's own")
def test_more_than_can_wait_are_told_to_come_back(host: Host) -> None:
    """And counted; nothing of theirs was begun."""
    number = f"crowd{time.monotonic_ns()}"
    host.sh("nous-vm pause 'a test'")
    try:
        with host.running("root", CROWD, socket_of(host)):
            with host.call_in_flight("note", text="x", call_id=number) as connection:
                answer = connection.recv(65536).lower()
            assert answer.startswith(b"http/1.1 503") and b"retry-after: 10" in answer, answer
    finally:
        host.sh("nous-vm resume")
    wait(host.answers, "the server to answer")
    assert "(full)" in host.sh("nous-vm gate denied")
    assert host.query(f"SELECT count(*) FROM executed WHERE call_id = '{number}'") == [[0]]
