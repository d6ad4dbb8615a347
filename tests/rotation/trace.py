"""Run a command and write down every system call of it that changes a file, with its path; on request kill it at one of them.

trace.py LABEL -- COMMAND...

/run/rotation-test/plan says "LABEL kill N" or "LABEL hold N" or "LABEL wait N" or "LABEL log 0"; for another label the command simply runs. N counts
up from 0: 2k is just before the call number k, 2k + 1 just after it; before=CALL=PATH or after=CALL=PATH is the first call of that kind. "hold" stops there
until somebody ends it, "wait" until there is a file "go" beside the plan. "LABEL EDQUOT N", with the
name of any error, lets the call number N fail that way instead of being made. "LABEL join 0" runs the command in the cgroup TIGHT. What
happened is in /run/rotation-test/LABEL.log, one line a call; where a kill or a hold took place, that is its last line.
"""

import ctypes
import errno
import os
import platform
import signal
import stat
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

PLACE = Path("/run/rotation-test")
STEP = PLACE / "step"  # is there while the command waits before a call
TIGHT = Path("/run/rotation-memory/tight")
TRACEME, POKEUSER, SYSCALL, SETOPTIONS, GET_SYSCALL_INFO = 0, 6, 24, 0x4200, 0x420E
RAX, ORIG_RAX = 80, 120  # where struct user keeps the result and the number of a system call
SYSGOOD, EXITKILL = 1, 0x100000
ENTRY, EXIT = 1, 2
SETFLAGS = 0x40086602
CREATE = os.O_CREAT | os.O_TRUNC
# Which of its arguments is a descriptor, and which a path.
BY_DESCRIPTOR = {1: "write", 18: "pwrite64", 74: "fsync", 75: "fdatasync", 77: "ftruncate", 91: "fchmod", 93: "fchown", 16: "ioctl", 40: "sendfile"}
BY_PATH: dict[int, tuple[str, tuple[int, ...]]] = {
    82: ("rename", (0, 1)),
    83: ("mkdir", (0,)),
    87: ("unlink", (0,)),
    90: ("chmod", (0,)),
    92: ("chown", (0,)),
    2: ("open", (0,)),
}
BY_PATH |= {257: ("openat", (1,)), 260: ("fchownat", (1,)), 263: ("unlinkat", (1,)), 264: ("renameat", (1, 3)), 268: ("fchmodat", (1,))}
libc = ctypes.CDLL(None, use_errno=True)


def ptrace(request: int, pid: int, address: int = 0, data: "int | ctypes.Array[ctypes.c_char]" = 0) -> int:
    result: int = libc.ptrace(request, pid, ctypes.c_void_p(address), data if isinstance(data, ctypes.Array) else ctypes.c_void_p(data))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request}")
    return result


def text_at(pid: int, address: int) -> str:
    with open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(address)
        return memory.read1(4096).split(b"\0")[0].decode()


def changes_a_file(pid: int, number: int, arguments: tuple[int, ...]) -> str:
    """Return what a system call is about to do to a file, or nothing."""
    if number in BY_DESCRIPTOR:
        name, path = BY_DESCRIPTOR[number], f"/proc/{pid}/fd/{arguments[0]}"
        if name == "ioctl" and arguments[1] & 0xFFFFFFFF != SETFLAGS:
            return ""
        try:
            kind = os.stat(path).st_mode
        except OSError:
            return ""
        return f"{name} {os.readlink(path)}" if stat.S_ISREG(kind) or stat.S_ISDIR(kind) else ""
    if number in BY_PATH:
        name, which = BY_PATH[number]
        if name in ("open", "openat") and not arguments[which[0] + 1] & CREATE:
            return ""
        paths = [text_at(pid, arguments[index]) for index in which]
        # Of a call that finds nothing, nothing changes.
        return f"{name} {' '.join(paths)}" if os.path.lexists(paths[0]) or name in ("open", "openat", "mkdir") else ""
    return ""


def act(pid: int, action: str, at: str, entry: bool, call: str, out: TextIO) -> bool:
    """Do at a place what the plan says; return whether the command was killed."""
    when = f"{at}, {'before' if entry else 'after'} {call}\n"
    if action == "kill":
        out.write(f"killed at {when}")
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    elif action == "hold":
        out.write(f"held at {when}")
        signal.pause()
    elif action == "wait":
        out.write(f"held at {when}")
        while not (PLACE / "go").exists():
            time.sleep(0.005)
    return action == "kill"


def step(slice: str, call: str) -> None:
    """Wait before a call until the file is removed, unless those are frozen who would do something meanwhile."""
    if "frozen 1" not in Path(f"/sys/fs/cgroup/{slice}/cgroup.events").read_text(encoding="ascii"):
        STEP.write_text(call, encoding="utf-8")
        while STEP.exists():
            time.sleep(0.002)


def fail(pid: int, action: str, entry: bool) -> bool:
    """Put an error in the place of a call: at its entry it is made none, at its end it gets the error; return whether it is the end."""
    if entry:
        ptrace(POKEUSER, pid, ORIG_RAX, -1)
    else:
        ptrace(POKEUSER, pid, RAX, -getattr(errno, action))
    return not entry


def calls(pid: int) -> Iterator[tuple[bool, str]]:
    """Let a traced command run from one call that changes a file to the next; yield whether it is the entry or the end, and which call."""
    info, call, forward = ctypes.create_string_buffer(88), "", 0
    while True:
        ptrace(SYSCALL, pid, 0, forward)
        _pid, status = os.waitpid(pid, 0)
        if not os.WIFSTOPPED(status):
            raise SystemExit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
        forward = 0 if os.WSTOPSIG(status) == signal.SIGTRAP | 0x80 else os.WSTOPSIG(status)
        if forward:
            continue
        ptrace(GET_SYSCALL_INFO, pid, len(info), info)
        entry = info.raw[0] == ENTRY
        if entry:
            call = changes_a_file(pid, struct.unpack_from("Q", info.raw, 24)[0], struct.unpack_from("6Q", info.raw, 32))
        if call and info.raw[0] in (ENTRY, EXIT):
            yield entry, call


def is_wanted(wanted: str, position: int, entry: bool, call: str) -> bool:
    """Tell whether the plan speaks of this place: by its number, or by the call."""
    return wanted in (str(position), f"{'before' if entry else 'after'}={call.replace(' ', '=')}")


def run(command: list[str], log: Path, action: str, wanted: str) -> int:
    pid = os.fork()
    if pid == 0:
        ptrace(TRACEME, 0)
        os.execvp(command[0], command)
    os.waitpid(pid, 0)
    ptrace(SETOPTIONS, pid, 0, SYSGOOD | EXITKILL)
    with open(log, "w", buffering=1, encoding="utf-8") as out:
        for position, (entry, call) in enumerate(calls(pid)):
            if not entry:
                out.write(f"{call}\n")
            if action == "step" and entry:
                step(wanted, call)
            if action in errno.errorcode.values() and str(position // 2) == wanted and fail(pid, action, entry):
                out.write(f"failed at {wanted}, {action} for {call}\n")
            if is_wanted(wanted, position, entry, call) and act(pid, action, str(position), entry, call, out):
                return 137
    return 0


label, command = sys.argv[1], sys.argv[3:]
plan = PLACE / "plan"
planned, action, wanted = plan.read_text(encoding="utf-8").split() if plan.exists() else ("", "", "0")
if planned == label and action == "join":
    (TIGHT / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
if planned != label or action == "join":
    os.execvp(command[0], command)
if platform.machine() != "x86_64":
    sys.exit(f"trace.py knows the system calls of x86_64, not of {platform.machine()}")
sys.exit(run(command, PLACE / f"{label}.log", action, wanted))
