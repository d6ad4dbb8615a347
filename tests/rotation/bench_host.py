"""One rotation of a log of a given size, measured on the host itself: bench_host.py METHOD MEGABYTES ARCHIVES; prints JSON.

bench_host.py write LOG is the writer: it opens the log once, writes numbered lines as fast as it goes, and says how long each took.
"""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

NAME = "rotation-test"
DIRECTORY = Path(f"/var/log/{NAME}")
LOG = DIRECTORY / "audit.jsonl"
WRITER = f"{NAME}-writer.service"
RESULT = Path(f"/run/{NAME}/latency.json")
BIN = 0.005  # seconds


def write(log: str) -> None:
    stopped = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    worst: dict[int, float] = {}
    number, before = 0, time.monotonic()
    while not stopped:
        os.write(descriptor, b"%015d\n" % number)
        number, now = number + 1, time.monotonic()
        place = int(before / BIN)
        worst[place] = max(worst.get(place, 0), now - before)
        before = now
    print(json.dumps({"written": number, "worst": worst}), flush=True)


def run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)


def ours() -> None:
    run("systemctl", "start", f"audit-logrotate-{NAME}.service")


def copytruncate() -> None:
    rule = Path(f"/run/{NAME}/copytruncate")
    rule.write_text(f"{LOG} {{\n  su root {NAME}\n  copytruncate\n  rotate 400\n  nocompress\n}}\n", encoding="utf-8")
    run("chattr", "-a", str(LOG))
    run("logrotate", "--force", "--state", f"/run/{NAME}/copytruncate-state", str(rule))
    run("chattr", "+a", str(LOG))


def whole_copy_frozen() -> None:
    """As somebody would do it who wants to lose nothing, and the folder to be whole at the thaw."""
    run("systemctl", "freeze", WRITER)
    run("chattr", "-a", str(LOG))
    for number in sorted((int(path.suffix[1:]) for path in DIRECTORY.glob("audit.jsonl.*")), reverse=True):
        os.rename(f"{LOG}.{number}", f"{LOG}.{number + 1}")
    run("cp", str(LOG), f"{LOG}.1")
    run("truncate", "--size=0", str(LOG))
    run("chattr", "+a", str(LOG))
    run("systemctl", "thaw", WRITER)


METHODS = {"copytruncate": copytruncate, "freeze, copy the whole, truncate": whole_copy_frozen, "nous-vm audit rotate": ours}


def lines(path: Path) -> int:
    with open(path, "rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def make_archives(method: str, count: int) -> None:
    """Make archives as the method has left them: numbered, the newest 1."""
    for number in range(1, count + 1):
        if METHODS[method] is ours and number > 1:
            Path(f"{LOG}.{number}.gz").write_bytes(gzip.compress(b"x\n"))
        else:
            Path(f"{LOG}.{number}").write_bytes(b"x\n")


def measure(method: str, megabytes: int, count: int) -> dict[str, object]:
    script = f"systemctl stop {WRITER}; cd {DIRECTORY} && chattr -f -i -a *.jsonl*; rm -rf *.jsonl.* .segment; : > {LOG}"
    subprocess.run(["sh", "-c", script], check=False)
    line = b"x" * 999 + b"\n"
    with open(LOG, "ab") as file:
        for _number in range(megabytes):
            file.write(line * 1000)
    make_archives(method, count)
    os.sync()
    run("chattr", "+a", str(LOG))
    run("systemctl", "start", WRITER)
    time.sleep(1)
    start = time.monotonic()
    METHODS[method]()
    end = time.monotonic()
    time.sleep(1)
    run("systemctl", "stop", WRITER)
    found = json.loads(RESULT.read_text(encoding="utf-8"))
    archive = Path(f"{LOG}.1")
    have = lines(LOG) + (lines(archive) if archive.exists() else 0)
    series = {round(int(place) * BIN - start, 3): round(worst * 1000, 2) for place, worst in found["worst"].items()}
    inside = {at: worst for at, worst in series.items() if -0.1 <= at <= end - start + 0.1}
    lost = megabytes * 1000 + found["written"] - have
    return {"pause": max(inside.values()), "took": end - start, "written": found["written"], "lost": lost, "series": series}


if sys.argv[1] == "write":
    write(sys.argv[2])
else:
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
