"""What is tried of a unit's sandbox, each way by itself: attempts.py has the table. On the host the two are one program."""

import contextlib
import ctypes
import errno
import fcntl
import glob
import mmap
import os
import platform
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

SUCCEEDED, NONE = "succeeded", "none"
SECONDS = 10
LIBC = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
NUMBERS = {
    "add_key": 248 if X86 else 217,
    "adjtimex": 159 if X86 else 171,
    "bpf": 321 if X86 else 280,
    "clock_settime": 227 if X86 else 112,
    "finit_module": 313 if X86 else 273,
    "io_uring_setup": 425,
    "kexec_load": 246 if X86 else 104,
    "keyctl": 250 if X86 else 219,
    "perf_event_open": 298 if X86 else 241,
    "process_vm_readv": 310 if X86 else 270,
    "reboot": 169 if X86 else 142,
    "sched_setscheduler": 144 if X86 else 119,
    "swapon": 167 if X86 else 224,
    "syslog": 103 if X86 else 116,
    "userfaultfd": 323 if X86 else 282,
}
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x20000, 0x10000000, 0x40000000
NAME = "nous-vm-attempt"
Place = dict[str, Any]


class Attempt(NamedTuple):
    who: str
    what: str
    denied: str  # the errors that are a denial
    do: Callable[[Place], object]
    control: str = SUCCEEDED


def called(result: int) -> None:
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def syscall(name: str, *arguments: int | bytes | None) -> None:
    called(LIBC.syscall(NUMBERS[name], *(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments)))


def read(path: str) -> None:
    with open(path, "rb") as file:
        file.read(1)


def journal() -> None:
    found = glob.glob("/var/log/journal/*/*") + glob.glob("/run/log/journal/*/*")
    if not found:
        raise FileNotFoundError(errno.ENOENT, "no journal is seen")
    read(found[0])


def write(directory: str) -> None:
    path = os.path.join(directory, NAME)
    with open(path, "wb"):
        os.unlink(path)


def overwrite(path: str) -> None:
    """Write a file what it says already."""
    with open(path, "r+b") as file:
        found = file.read(1)
        file.seek(0)
        file.write(found)


def truncate(path: str) -> None:
    os.truncate(path, max(os.stat(path).st_size - 1, 0))


def rename(path: str) -> None:
    os.rename(path, f"{path}.{NAME}")
    os.rename(f"{path}.{NAME}", path)


def unlink(path: str) -> None:
    with open(path, "rb") as file:
        found = file.read()
    os.unlink(path)
    with open(path, "wb") as file:
        file.write(found)


def clear_flags(path: str) -> None:
    """Take the one flag away: with all others gone too, ext4 would have to lay the file out anew, and may decline."""
    FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, APPEND_ONLY = 0x80086601, 0x40086602, 0x20
    with open(path, "rb") as file:
        flags = int.from_bytes(fcntl.ioctl(file, FS_IOC_GETFLAGS, bytes(8)), "little")
        fcntl.ioctl(file, FS_IOC_SETFLAGS, (flags & ~APPEND_ONLY).to_bytes(8, "little"))


def unix(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)


def datagram(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
        connection.connect(path)


def tcp(address: str, port: int) -> None:
    socket.create_connection((address, port), SECONDS / 2).close()


def routed(address: str) -> None:
    """Ask for a way to an address; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        connection.connect((address, 53))


def listen(port: int) -> None:
    socket.create_server(("127.0.0.1", port)).close()


def a_socket(*kind: int) -> None:
    socket.socket(*kind).close()


def run(*argv: str) -> None:
    """Run a program; that it cannot do its work counts as denied."""
    child = os.posix_spawn(argv[0], argv, os.environ)
    if os.waitpid(child, 0)[1] != 0:
        raise PermissionError(errno.EPERM, f"{argv[0]} failed")


def run_copy(directory: str) -> None:
    """Run a copy of the interpreter."""
    path = os.path.join(directory, NAME)
    try:
        shutil.copyfile(os.path.realpath(sys.executable), path)
        os.chmod(path, 0o755)
        run(path, "-I", "-S", "-c", "")
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)


def run_from_memory() -> None:
    made = os.memfd_create(NAME, 0)
    with open(os.path.realpath(sys.executable), "rb") as program:
        os.sendfile(made, program.fileno(), 0, os.fstat(program.fileno()).st_size)
    run(f"/proc/self/fd/{made}", "-I", "-S", "-c", "")


def load_library(directory: str) -> None:
    path = os.path.join(directory, NAME)
    try:
        shutil.copyfile(glob.glob("/usr/lib/*/libm.so.6")[0], path)
        ctypes.CDLL(path)
    except OSError as error:
        raise PermissionError(errno.EPERM, str(error)) if error.errno is None else error from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)


def any_program(pattern: str, own: str) -> None:
    """Look whether any program may be run but the unit's own, and this one."""
    known = {os.path.realpath(own), os.path.realpath(sys.executable)}
    if not any(os.access(path, os.X_OK) and os.path.realpath(path) not in known for path in glob.glob(pattern)):
        raise PermissionError(errno.EACCES, "no program can be run")


def loader(directory: str) -> None:
    path = os.path.join(directory, NAME)
    try:
        shutil.copyfile(os.path.realpath(sys.executable), path)
        run(glob.glob("/lib64/ld-linux*.so.*" if X86 else "/lib/ld-linux*.so.*")[0], path, "-I", "-S", "-c", "")
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)


def change_protection() -> None:
    LIBC.mmap.restype = ctypes.c_void_p
    made = LIBC.mmap(None, ctypes.c_size_t(4096), mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, ctypes.c_long(0))
    called(LIBC.mprotect(ctypes.c_void_p(made), ctypes.c_size_t(4096), mmap.PROT_READ | mmap.PROT_EXEC))


def others() -> None:
    """Look for processes of another account."""
    if all(os.stat(path).st_uid == os.geteuid() for path in glob.glob("/proc/[0-9]*")):
        raise FileNotFoundError(errno.ENOENT, "no process but its own is seen")


def setuid_file(directory: str) -> None:
    path = os.path.join(directory, NAME)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        os.chmod(path, 0o4755)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)


def device(directory: str) -> None:
    path = os.path.join(directory, NAME)
    os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))
    os.unlink(path)


def raise_limit(limit: int) -> None:
    """Ask for more than the server has, or as much as root has."""
    _soft, hard = resource.getrlimit(limit)
    if hard == resource.RLIM_INFINITY:
        return
    try:
        resource.setrlimit(limit, (hard, hard if os.geteuid() == 0 else max(hard, 0) + 1))
    except ValueError as error:
        raise PermissionError(errno.EPERM, str(error)) from None


def mount() -> None:
    os.makedirs(f"/tmp/{NAME}-mount", exist_ok=True)
    called(LIBC.mount(b"none", f"/tmp/{NAME}-mount".encode(), b"tmpfs", 0, None))
    called(LIBC.umount2(f"/tmp/{NAME}-mount".encode(), 0))


def hostname() -> None:
    called(LIBC.sethostname(socket.gethostname().encode(), len(socket.gethostname())))


def enter(pid: int) -> None:
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    called(LIBC.setns(namespace, CLONE_NEWNET))


def past_the_gate(place: Place) -> None:
    if os.geteuid() == 0:
        enter(place["pid"])
    tcp(*place["bind"])


def ptrace(request: int, pid: int) -> None:
    called(LIBC.ptrace(request, pid, None, None))
    if pid:
        os.waitpid(pid, 0x40000000)  # __WALL
        called(LIBC.ptrace(17, pid, None, None))


def read_memory(pid: int) -> None:
    """Ask for a byte that is nowhere: only who may look is told so."""
    to = ctypes.create_string_buffer(1)
    mine = (ctypes.c_void_p * 2)(ctypes.addressof(to), 1)
    theirs = (ctypes.c_void_p * 2)(1, 1)
    syscall("process_vm_readv", pid, ctypes.addressof(mine), 1, ctypes.addressof(theirs), 1, 0)


def hold_lock(path: str) -> None:
    with open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def hold_lock_by_reading(path: str) -> None:
    with open(path, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def command(*argv: str) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PermissionError(errno.EACCES, done.stderr)


def write_to(directory: str, _place: Place) -> None:
    write(directory)


# A path that is not there inside is as good as one that may not be opened.
