"""Rotate again and again on the host itself, and kill what is requested: drive.py JSON; prints JSON.

{"rotations": N, "pause": SECONDS}               rotate N times; with "patience": M, one that is given up is asked for M times more
{"kill": LABEL, "at": [N, ...]}                  for each N: a rotation whose LABEL is killed there, then one that is not
{"kill": "unit", "times": N, "seed": S}          N times: kill one or all of a rotation at a random time, then one that is not
{"frozen": [N, ...], "first": N, "program": BOOL}  for each N: kill the service while a rotation waits at its call N, frozen; and the rotation too
{"fail": LABEL, "how": ERRNO, "at": [N, ...]}    for each N: a rotation of whose LABEL the call N fails, then one that does not
{"steps": [N, ...]}                              for each N: a rotation at whose every call a day begins, until the server has pinned its head; N is the day
{"memory": LABEL, "limits": [BYTES, ...]}        for each: a rotation whose LABEL gets no more memory, then one that does

"name" and "writer" say which rotation, and which service writes, if not those of the tests.
After every rotation, also a killed one, logs, archives and units are looked at. What is wrong is returned as sentences.
"""

import array
import fcntl
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

GETFLAGS, APPEND_ONLY, IMMUTABLE = 0x80086601, 0x20, 0x10
work = json.loads(sys.argv[1])
NAME = work.get("name", "rotation-test")
DIRECTORY = Path(f"/var/log/{NAME}")
ROTATE = f"audit-logrotate-{NAME}.service"
RECOVER = f"audit-logrotate-{NAME}-recover.service"
CGROUP = Path(f"/sys/fs/cgroup/system.slice/{ROTATE}")
WRITER = work.get("writer", f"{NAME}-writer.service")
PLACE = Path("/run/rotation-test")
STEP = PLACE / "step"
DAY, ANCHORS = Path("/var/lib/nous/day"), Path("/var/log/nous/audit-anchors.jsonl")
TIGHT = Path("/run/rotation-memory/tight")  # of version 1: on the machines that these hosts run on, it is that hierarchy that has the memory controller
ANSWER = 3.0  # seconds for systemd to answer: as long as a freeze may last at most, whatever becomes of the rotation
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
    """Are the log, its archives and the units in their expected state, whatever happened?"""
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
    left = [path.name for path in DIRECTORY.glob(".segment/*") if path.suffix != ".speed"]
    if left:
        wrong.append(f"{when}: {left} are left over")
    state = dict(line.split("=") for line in systemctl("show", "--property=FreezerState,ActiveState,ControlGroup", WRITER).stdout.split())
    frozen = "frozen 1" in Path(f"/sys/fs/cgroup{state.pop('ControlGroup')}/cgroup.events").read_text(encoding="ascii")
    if frozen or state != {"ActiveState": "active", "FreezerState": "running"}:
        wrong.append(f"{when}: the writer is {state}{' and frozen' if frozen else ''}")


def settle() -> None:
    """Wait until neither the rotation nor the recovery after it is running."""
    busy = ["list-units", "--no-legend", "--plain", "--state=activating,deactivating", ROTATE, RECOVER]
    while systemctl(*busy).stdout or RECOVER in systemctl("list-jobs", "--no-legend").stdout:
        time.sleep(0.1)


def rotate(when: str) -> None:
    for left in reversed(range(1 + work.get("patience", 0))):
        done = systemctl("start", ROTATE)
        if not done.returncode:
            break
        journal = subprocess.run(["journalctl", "--output=cat", "--lines=12", f"--unit={ROTATE}"], capture_output=True, text=True, check=False)
        if not left or "given up 3 times in a row" not in journal.stdout:
            wrong.append(f"{when}: {done.stderr} {journal.stdout}")
            break
        settle()
        look(f"{when}, given up")
    look(when)


def archives() -> set[tuple[int, str]]:
    """Return inode and name of every archive."""
    return {(path.stat().st_ino, path.name) for path in DIRECTORY.glob("*.jsonl.*")}


def shown(name: str) -> str:
    return systemctl("show", "--value", f"--property={name}", ROTATE).stdout.strip()


def kill_by_trace(label: str, at: int) -> str:
    (PLACE / "plan").write_text(f"{label} kill {at}", encoding="utf-8")
    log = PLACE / f"{label}.log"
    log.unlink(missing_ok=True)
    failed = systemctl("start", ROTATE).returncode != 0
    (PLACE / "plan").unlink()
    settle()
    last = ["", *log.read_text(encoding="utf-8").splitlines()][-1] if log.exists() else ""
    killed = last if last.startswith("killed") else ""
    if failed != bool(killed):
        wrong.append(f"{label} at {at}: the unit {'failed' if failed else 'succeeded'}, but the last line is {last!r}")
    return killed


def at_work() -> str:
    """Return which program of the rotation runs, or nothing."""
    commands = ""
    try:
        for pid in (CGROUP / "cgroup.procs").read_text(encoding="ascii").split():
            commands += Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").replace("\0", " ")
    except OSError:
        pass  # it has just ended
    return "rotate" if "audit rotate" in commands else ""


def kill_unit(after: float, whom: str) -> str:
    """Kill after a time; return what was running, or nothing if the rotation was over."""
    systemctl("start", "--no-block", ROTATE)
    time.sleep(after)  # not a condition to wait for, but the moment of the kill
    label = at_work() or "something else"
    systemctl("kill", "--signal=SIGKILL", f"--kill-whom={whom}", ROTATE)
    settle()
    return f"killed in {label} ({whom}) after {after:.3f} s" if shown("Result") == "signal" else ""


def fail_by_trace(label: str, how: str, at: int) -> str:
    """Let a call fail; no archive may have moved for it, unless the log was cut before."""
    (PLACE / "plan").write_text(f"{label} {how} {at}", encoding="utf-8")
    log = PLACE / f"{label}.log"
    log.unlink(missing_ok=True)
    before = archives()
    failed = systemctl("start", ROTATE).returncode != 0
    (PLACE / "plan").unlink()
    settle()
    made = log.read_text(encoding="utf-8").splitlines()
    last = [line for line in made if line.startswith("failed at")]
    cut = last and f"ftruncate {DIRECTORY}/audit.jsonl" in made[: made.index(last[0])]
    if failed and archives() != before and not cut:
        wrong.append(f"{last}: the rotation failed and archives were shifted")
    return last[0] + (", and so did the rotation" if failed else ", and the rotation went on") if last else ""


def kill_frozen(at: int) -> str:
    """Kill the service while it is frozen, and ask systemd meanwhile, which starts it anew in the frozen cgroup; return how long systemd did not answer."""
    (PLACE / "plan").write_text(f"rotate wait {at}", encoding="utf-8")
    log, go = PLACE / "rotate.log", PLACE / "go"
    log.unlink(missing_ok=True)
    go.unlink(missing_ok=True)
    pid = int(systemctl("show", "--value", "--property=MainPID", WRITER).stdout)
    systemctl("start", "--no-block", ROTATE)
    while not (log.exists() and "held at" in log.read_text(encoding="utf-8")):
        if shown("ActiveState") not in ("activating", "deactivating"):
            return ""
    os.kill(pid, signal.SIGKILL)
    with subprocess.Popen(["systemctl", "show", "--property=ActiveState", WRITER], stdout=subprocess.DEVNULL) as question:
        (PLACE / "plan").unlink()
        began = time.monotonic()
        if work.get("program"):
            for process in (CGROUP / "cgroup.procs").read_text(encoding="ascii").split():
                os.kill(int(process), signal.SIGKILL)
        else:
            go.touch()
        question.wait()
        took = time.monotonic() - began
    settle()
    while systemctl("is-active", WRITER).returncode or systemctl("show", "--value", "--property=MainPID", WRITER).stdout.strip() == "0":
        time.sleep(0.02)
    held = next(line for line in log.read_text(encoding="utf-8").splitlines() if line.startswith("held"))
    if took > ANSWER:
        wrong.append(f"{held}: systemd did not answer for {took:.1f} s")
    return f"{held}, and systemd answered after {took:.2f} s"


def anchored_at_each_step(day: int) -> str:
    """Have a day begin before each call of a rotation that changes a file, and wait until the server has pinned what it finds; not while it is frozen."""
    (PLACE / "plan").write_text("rotate step nous.slice", encoding="utf-8")
    STEP.unlink(missing_ok=True)
    systemctl("start", "--no-block", ROTATE)
    pinned = 0
    while STEP.exists() or shown("ActiveState") in ("activating", "deactivating"):
        if not STEP.exists():
            continue
        before, until = ANCHORS.stat().st_size, time.monotonic() + 60
        new = DAY.with_name("day.step")
        new.write_text(f"day {day}.{pinned}", encoding="utf-8")
        new.rename(DAY)
        while ANCHORS.stat().st_size == before and not wrong:
            if time.monotonic() > until:
                wrong.append(f"no anchor before {STEP.read_text(encoding='utf-8')}")
            time.sleep(0.005)
        pinned += 1
        STEP.unlink()
    (PLACE / "plan").unlink()
    settle()
    if shown("Result") != "success":
        wrong.append(f"the rotation of day {day} failed")
    return f"{pinned} anchors"


def run_out_of_memory(label: str, limit: int) -> str:
    """Give a program no more memory than that; return that the kernel killed somebody for it, or nothing if it was enough."""
    before = killed_for_memory()
    limit_memory(limit)
    (PLACE / "plan").write_text(f"{label} join 0", encoding="utf-8")
    failed = systemctl("start", ROTATE).returncode != 0
    (PLACE / "plan").unlink()
    settle()
    limit_memory(-1)
    if killed_for_memory() == before:
        if failed:
            wrong.append(f"{limit} bytes: nothing was killed for memory, but the rotation failed")
        return ""
    return f"out of memory in {label} at {limit} bytes"


def limit_memory(limit: int) -> None:
    """Set the limit of the cgroup that trace.py runs a program in, once what is left of the last one is given back: Linux takes no less than is in use."""
    (TIGHT / "memory.force_empty").write_text("0", encoding="ascii")
    names = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]  # the first may not be above the second
    for name in names if limit > 0 else reversed(names):
        (TIGHT / name).write_text(str(limit), encoding="ascii")


def killed_for_memory() -> int:
    """Return how often the kernel killed somebody in that cgroup, which is made if it is absent."""
    if not TIGHT.parent.is_mount():
        TIGHT.parent.mkdir()
        subprocess.run(["mount", "-t", "cgroup", "-o", "memory", "cgroup", TIGHT.parent], check=True)
    TIGHT.mkdir(exist_ok=True)
    return int(dict(line.split() for line in (TIGHT / "memory.oom_control").read_text(encoding="ascii").splitlines())["oom_kill"])


def attempts() -> Iterator[str]:
    """Do what was requested, one after the other; yield what happened, or nothing if nothing did."""
    for at in work.get("at", []):
        yield kill_by_trace(work["kill"], at) if "kill" in work else fail_by_trace(work["fail"], work["how"], at)
    for limit in work.get("limits", []):
        yield run_out_of_memory(work["memory"], limit)
    chance = random.Random(work.get("seed"))
    while len(done) < work.get("times", 0):
        if happened := kill_unit(chance.uniform(0, took), chance.choice(["main", "all"])):
            yield happened
    for at in work.get("frozen", []):
        # A rotation that copies in fewer turns than the traced one is over before the last of these moments; the first of them comes in each.
        yield next(filter(None, map(kill_frozen, (at, (work["first"] + at) // 2, work["first"]))), "")
    for day in work.get("steps", []):
        yield anchored_at_each_step(day)


done: list[str] = []
took = 1.0  # seconds of the last complete rotation
for number in range(work.get("rotations", 0)):
    time.sleep(work.get("pause", 0))
    rotate(f"rotation {number}")
for happened in attempts():
    if not happened:
        break  # there is no such place any more, or memory was enough
    done.append(happened)
    look(happened)
    if "steps" not in work and ("frozen" not in work or work["program"]):  # else the one after it is the next, or the one that was not killed itself
        began = time.monotonic()
        rotate(f"the rotation after {happened}")
        took = time.monotonic() - began
    if wrong:
        break
print(json.dumps({"wrong": wrong, "done": done, "free": shutil.disk_usage(DIRECTORY).free}))
