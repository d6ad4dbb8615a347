"""Rotate again and again on the host itself, and kill what is asked for: drive.py JSON; prints JSON.

{"rotations": N, "pause": SECONDS}               rotate N times
{"kill": LABEL, "at": [N, ...]}                  for each N: a rotation whose LABEL is killed there, then one that is not
{"kill": "unit", "after": [SECONDS, ...]}        for each: kill every process of the rotation after that time, then one that is not

After every rotation, also a killed one, the promises are looked at. What is wrong is returned as sentences.
"""

import array
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

GETFLAGS, APPEND_ONLY, IMMUTABLE = 0x80086601, 0x20, 0x10
NAME = "rotation-test"
DIRECTORY = Path(f"/var/log/{NAME}")
ROTATE = f"audit-logrotate-{NAME}.service"
RECOVER = f"audit-logrotate-{NAME}-recover.service"
WRITER = f"{NAME}-writer.service"
PLACE = Path("/run/rotation-test")
asked = json.loads(sys.argv[1])
wrong: list[str] = []


def systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)


def flags(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    found = array.array("i", [0])
    fcntl.ioctl(descriptor, GETFLAGS, found)
    os.close(descriptor)
    return found[0]


def look(when: str) -> None:
    """Are the log, its archives and the units as promised, whatever happened?"""
    for log in [path for path in DIRECTORY.iterdir() if path.suffix == ".jsonl"]:
        if not flags(log) & APPEND_ONLY:
            wrong.append(f"{when}: {log} is not append-only")
    for path in DIRECTORY.glob("*.jsonl.*"):
        if not re.fullmatch(r".*[.]jsonl[.][0-9]+([.]gz)?", path.name):
            wrong.append(f"{when}: {path.name} is left over")
        elif not flags(path) & IMMUTABLE or path.stat().st_mode & 0o7777 != 0o440:
            wrong.append(f"{when}: {path.name} can be changed")
        if path.suffix == ".gz" and path.with_suffix("").exists():
            wrong.append(f"{when}: {path.name} stands beside what it was made of")
    left = [path.name for path in DIRECTORY.glob(".segment/*") if path.suffix != ".jsonl"]
    if left:
        wrong.append(f"{when}: {left} are left over")
    shown = systemctl("show", "--property=FreezerState,ActiveState", WRITER).stdout.split()
    if set(shown) != {"ActiveState=active", "FreezerState=running"}:
        wrong.append(f"{when}: the writer is {shown}")


def settle() -> None:
    """Wait until neither the rotation nor the recovery after it is at work."""
    busy = ["list-units", "--no-legend", "--plain", "--state=activating,deactivating", ROTATE, RECOVER]
    while systemctl(*busy).stdout or RECOVER in systemctl("list-jobs", "--no-legend").stdout:
        time.sleep(0.02)


def rotate(when: str) -> None:
    done = systemctl("start", ROTATE)
    if done.returncode:
        said = subprocess.run(["journalctl", "--output=cat", "--lines=12", f"--unit={ROTATE}"], capture_output=True, text=True, check=False)
        wrong.append(f"{when}: {done.stderr} {said.stdout}")
    look(when)


def kill_by_trace(label: str, at: int) -> str:
    (PLACE / "plan").write_text(f"{label} kill {at}", encoding="utf-8")
    log = PLACE / f"{label}.log"
    log.unlink(missing_ok=True)
    failed = systemctl("start", ROTATE).returncode != 0
    (PLACE / "plan").unlink()
    settle()
    last = ([""] + log.read_text(encoding="utf-8").splitlines())[-1] if log.exists() else ""
    killed = last if last.startswith("killed") else ""
    if failed != bool(killed):
        wrong.append(f"{label} at {at}: the unit {'failed' if failed else 'succeeded'}, but the last line is {last!r}")
    return killed


def kill_unit(after: float) -> str:
    systemctl("start", "--no-block", ROTATE)
    time.sleep(after)
    killed = systemctl("show", "--property=ActiveState", "--value", ROTATE).stdout.strip() == "activating"
    systemctl("kill", "--signal=SIGKILL", ROTATE)
    settle()
    return f"killed after {after}" if killed else ""


kills: list[str] = []
for number in range(asked.get("rotations", 0)):
    time.sleep(asked.get("pause", 0))
    rotate(f"rotation {number}")
for at in asked.get("at", asked.get("after", [])):
    killed = kill_unit(at) if asked["kill"] == "unit" else kill_by_trace(asked["kill"], at)
    if killed:
        kills.append(killed)
        look(killed)
        rotate(f"the rotation after {asked['kill']} was {killed}")
    elif asked["kill"] != "unit":
        break  # there is no such position any more
    if wrong:
        break
print(json.dumps({"wrong": wrong, "kills": kills, "free": shutil.disk_usage(DIRECTORY).free}))
