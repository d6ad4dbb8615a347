"""A load on a host, and what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from controller import REPOSITORY, wait
from wire import VENDOR

if TYPE_CHECKING:
    from host import Host

HERE = Path(__file__).parent
FULL = os.environ.get("NOUS_VM_SERVICE") == "full"
# Requests a second. The short form shows what is lost and what is done twice; how much the proxy carries needs a machine that does nothing else.
REQUESTED = RATE = float(os.environ.get("NOUS_VM_SERVICE_RATE", "200" if FULL else "50"))


class Request(NamedTuple):
    """A request that load.py sent, and what came of it."""

    number: int
    method: str
    kept: bool
    begun: float
    ended: float
    outcome: str
    detail: str

    @property
    def took(self) -> float:
        return self.ended - self.begun


class Stream(NamedTuple):
    """An event stream of a client: when it was asked for, when it began (0: never), when it ended, and how."""

    client: int
    asked: float
    began: float
    ended: float
    how: str


class Load:
    """A load under way; once ended, what came of it beside what the server's record has."""

    def __init__(self, host: Host, requested: float) -> None:
        self.host, self.run, self.requested = host, f"run{time.monotonic_ns()}", requested
        self.now: dict[str, int] = {"answered": 0, "waiting": 0}
        self.requests: list[Request] = []
        self.streams: list[Stream] = []
        self.executed: Counter[int] = Counter()
        self.rate = 0.0

    def start(self) -> None:
        command = [sys.executable, str(HERE / "load.py"), VENDOR, self.run, f"--rate={self.requested}"]
        environment = os.environ | {"NOUS_VM_TOKEN": self.host.token, "PYTHONPATH": str(REPOSITORY / "tests/gate"), "PYTHONDONTWRITEBYTECODE": "1"}
        with self.host.network.entered():
            self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            report = json.loads(line)
            if "requests" in report:
                self.rate = report["rate"]
                self.requests = [Request(*each) for each in report["requests"]]
                self.streams = [Stream(*each) for each in report["streams"]]
            else:
                self.now = report

    def settle(self) -> None:
        """Wait until the answers of another second came and hardly any request waits."""
        start = self.now["answered"]

        def settled() -> bool:
            assert self.process.poll() is None, "this machine cannot carry the load"
            return self.now["answered"] >= start + self.requested and self.now["waiting"] < self.requested / 10

        wait(settled, "the load to settle")

    def end(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.reader.join()
        self.process.wait()
        calls = self.host.query(f"SELECT call_id FROM executed WHERE call_id LIKE '{self.run}-%'")
        self.executed = Counter(int(call_id.rpartition("-")[2]) for (call_id,) in calls)

    @property
    def failed(self) -> list[Request]:
        return [each for each in self.requests if each.outcome != "answered"]

    @property
    def twice(self) -> list[int]:
        return [number for number, times in self.executed.items() if times > 1]

    @property
    def lost(self) -> list[int]:
        """Calls that were acknowledged and that the server's record lacks."""
        return [each.number for each in self.requests if each.method == "POST" and each.outcome == "answered" and not self.executed[each.number]]

    def first_answer(self, after: float) -> float:
        """Return when the first request that was sent after a time was answered."""
        return min(each.ended for each in self.requests if each.begun > after and each.outcome == "answered")

    def __str__(self) -> str:
        took = sorted(each.took for each in self.requests)
        counted = Counter((each.method, each.outcome) for each in self.requests)
        unanswered = sum(bool(self.executed[each.number]) for each in self.failed if each.method == "POST")
        lines = [f"{len(self.requests)} requests at {self.rate:.0f}/s: " + ", ".join(f"{count} {' '.join(key)}" for key, count in sorted(counted.items()))]
        lines += [f"p50 {took[len(took) // 2] * 1000:.0f} ms, p99 {took[len(took) * 99 // 100] * 1000:.0f} ms, longest {took[-1]:.2f} s" if took else ""]
        lines += [f"executed {len(self.executed)}, twice {len(self.twice)}, though not answered {unanswered}, acknowledged and lost {len(self.lost)}"]
        lines += [f"event streams: {dict(Counter(each.how for each in self.streams))}"]
        lines += [f"failed: {each}" for each in self.failed[:10]]
        return "\n".join(lines)

    def assert_nothing_failed(self) -> None:
        print(self)
        assert self.rate > 0.9 * self.requested, "this machine did not send as fast as was asked: nothing is shown"
        assert self.failed == [], self
        self.assert_record()

    def assert_record(self) -> None:
        """Nothing was executed twice, and what was acknowledged was executed."""
        assert len(self.executed) > 0
        assert (self.twice, self.lost) == ([], []), self
