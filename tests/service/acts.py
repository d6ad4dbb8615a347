"""Write down every act of nous-vm on its host, as Python's audit events tell them; end or stop it before the one that is asked for.

A .pth file among the packages of the host's Python runs this, so that the program under test knows nothing of it. PLAN holds "COMMAND kill STEP N" or
"COMMAND stop STEP N", where N counts the acts of a step from 0, or "COMMAND log - 0"; LOG gets a line an act: the step that the journal is at ("before"
and "after" where there is none), the act, on what.
"""

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path("/run/nous-vm-acts")
PLAN, LOG = HERE / "plan", HERE / "log"
JOURNAL = Path("/opt/nous/deployment.json")
ACTS = {"subprocess.Popen", "os.rename", "os.remove", "os.symlink", "os.mkdir", "os.rmdir", "shutil.rmtree", "socket.connect"}


def watch(action: str, where: str, wanted: int) -> None:
    """Count the acts from now on."""
    seen: Counter[str] = Counter()
    busy = False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal busy
        writes = event == "open" and isinstance(arguments[0], str) and arguments[2] & (os.O_WRONLY | os.O_RDWR) and arguments[0] != os.devnull
        if busy or not (writes or event in ACTS):
            return
        busy = True  # what this function does is no act
        try:
            step = json.loads(JOURNAL.read_text(encoding="utf-8"))["step"]
        except FileNotFoundError:
            step = "after" if seen.keys() - {"before"} else "before"
        what = arguments[1] if event == "subprocess.Popen" else arguments[0]
        with LOG.open("a", encoding="utf-8") as log:
            log.write(f"{step} {event} {what}\n")
        if action != "log" and (step, seen[step]) == (where, wanted):
            PLAN.unlink()  # who comes after it is not to be watched
            os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)
        seen[step] += 1
        busy = False

    sys.addaudithook(hook)


words = Path("/proc/self/cmdline").read_bytes().decode().split("\0")
if PLAN.exists() and "/usr/local/sbin/nous-vm" in words:
    command, action, where, wanted = PLAN.read_text(encoding="utf-8").split()
    if command in words and ("--here" in words or command == "recover"):
        watch(action, where, int(wanted))
