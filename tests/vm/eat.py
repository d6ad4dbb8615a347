"""Join the control group of a unit and take of it until the kernel says no: eat.py UNIT memory|tasks. Says how much there was."""

import os
import signal
import subprocess
import sys
from pathlib import Path

unit, what = sys.argv[1:]
shown = subprocess.run(["systemctl", "show", "--value", "--property=ControlGroup", unit], check=True, capture_output=True, text=True).stdout.strip()
group = Path(f"/sys/fs/cgroup{shown}")
limit = int((group / {"memory": "memory.max", "tasks": "pids.max"}[what]).read_text())
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    (group / "cgroup.procs").write_text(str(os.getpid()))
    if what == "memory":
        taken = [bytearray(os.urandom(1)) * 2**20 for _ in range(limit // 2**20 + 64)]
        os._exit(0)
    for count in range(limit + 1):
        try:
            if os.fork() == 0:
                signal.pause()
        except BlockingIOError:
            print(f"denied after {count} of {limit}", flush=True)
            os.killpg(0, signal.SIGKILL)
    os.killpg(0, signal.SIGKILL)
_child, status = os.waitpid(child, 0)
print(f"ended by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "not denied")
