"""What the guard of a log and its watcher take of a core, measured on the host itself: bench_guard.py NAME SECONDS; prints JSON.

At rest, and while 200 chained records a second come, by what systemd accounts to their units.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import chain

NAME, SECONDS = sys.argv[1], float(sys.argv[2])
LOG = Path(f"/var/log/{NAME}/audit.jsonl")
RATE = 200
UNITS = [f"audit-logrotate-{NAME}-{part}.service" for part in ("guard", "watch")]


def used() -> float:
    """Return the seconds of CPU that the units took so far."""
    shown = subprocess.run(["systemctl", "show", "--value", "--property=CPUUsageNSec", *UNITS], capture_output=True, text=True, check=True)
    return sum(map(int, shown.stdout.split())) / 1e9


def write(seconds: float) -> int:
    """Write records until the time is over; return how many."""
    head, number, begun = "0" * 64, 0, time.monotonic()
    descriptor = os.open(LOG, os.O_WRONLY | os.O_APPEND)
    while (now := time.monotonic()) - begun < seconds:
        if number > (now - begun) * RATE:
            time.sleep(1 / RATE)
            continue
        record = {"ts": "2026-01-01T00:00:00.000000+00:00", "tool": "note", "args": {"text": "x" * 200}, "number": number, "prev_hash": head}
        record["entry_hash"] = head = chain.digest(record)
        os.write(descriptor, json.dumps(record).encode() + b"\n")
        number += 1
    os.close(descriptor)
    return number


before = used()
time.sleep(SECONDS)  # not a condition to wait for, but what is measured
idle = used() - before
before = used()
lines = write(SECONDS)
time.sleep(1)
busy = used() - before
print(json.dumps({"idle": idle / SECONDS, "busy": busy / SECONDS, "lines": lines, "a thousand": max(busy - idle, 0) / lines * 1000}))
