"""What the service's own account tries on its log, and what it gets: hostile.py LOG ANCHORS; prints JSON {attempt: result}."""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import signal
import sys
from collections.abc import Callable

log, anchors = sys.argv[1:3]
directory, archive, packed = os.path.dirname(log), f"{log}.1", f"{log}.2.gz"
scratch = f"/var/tmp/hostile-{os.getpid()}"
libc = ctypes.CDLL(None, use_errno=True)
got: dict[str, str] = {}


def attempt(name: str, what: Callable[[], object]) -> None:
    try:
        what()
    except OSError as error:
        got[name] = errno.errorcode[error.errno or 0]
    else:
        got[name] = "done"


def with_descriptor(path: str, flags: int, what: Callable[[int], object]) -> Callable[[], object]:
    def run() -> object:
        descriptor = os.open(path, flags)
        try:
            return what(descriptor)
        finally:
            os.close(descriptor)

    return run


def fallocate(descriptor: int, mode: int) -> None:
    if libc.fallocate(descriptor, mode, ctypes.c_long(0), ctypes.c_long(4096)):
        raise OSError(ctypes.get_errno(), "fallocate")


def set_flags(descriptor: int) -> None:
    fcntl.ioctl(descriptor, 0x40086602, bytes(4))


def splice(descriptor: int) -> None:
    """Write at the start what comes through a pipe."""
    source, target = os.pipe()
    os.write(target, b"x")
    if libc.splice(source, None, descriptor, ctypes.byref(ctypes.c_long(0)), ctypes.c_size_t(1), 0) < 0:
        raise OSError(ctypes.get_errno(), "splice")


def copy_range(descriptor: int) -> None:
    """Write at the start what another file has."""
    with open(sys.executable, "rb") as source:
        os.copy_file_range(source.fileno(), descriptor, 1, 0, 0)


def leave() -> None:
    """Go to the root of all cgroups, as whoever may write there could."""
    with open("/sys/fs/cgroup/cgroup.procs", "w", encoding="ascii") as file:
        file.write(str(os.getpid()))


append = os.O_WRONLY | os.O_APPEND
os.mknod(scratch)
attempt("append to the log", with_descriptor(log, append, lambda fd: os.write(fd, b"")))
attempt("append to the anchors", with_descriptor(anchors, append, lambda fd: os.write(fd, b"{}\n")))
attempt("read the log", with_descriptor(log, os.O_RDONLY, lambda fd: os.read(fd, 1)))
attempt("read an archive", with_descriptor(archive, os.O_RDONLY, lambda fd: os.read(fd, 1)))


def overwrite(name: str, path: str) -> None:
    """Try on a file what would change more of it than its end."""
    attempt(f"open {name} to overwrite it", with_descriptor(path, os.O_WRONLY, lambda fd: None))
    attempt(f"open {name} to read and write", with_descriptor(path, os.O_RDWR, lambda fd: None))
    attempt(f"truncate {name}", lambda: os.truncate(path, 0))
    attempt(f"empty {name} by opening it", with_descriptor(path, append | os.O_TRUNC, lambda fd: None))
    attempt(f"rename {name}", lambda: os.rename(path, f"{path}.x"))
    attempt(f"put another file in place of {name}", lambda: os.rename(scratch, path))
    attempt(f"remove {name}", lambda: os.unlink(path))
    attempt(f"give {name} a second name", lambda: os.link(path, f"{scratch}-link"))
    attempt(f"change the mode of {name}", lambda: os.chmod(path, 0o666))
    attempt(f"change the owner of {name}", lambda: os.chown(path, os.getuid(), -1))
    attempt(f"change the times of {name}", lambda: os.utime(path, (0, 0)))
    attempt(f"lift the flags of {name} (chattr)", with_descriptor(path, os.O_RDONLY, set_flags))
    attempt(f"map {name} into memory to write", with_descriptor(path, os.O_RDWR | os.O_APPEND, lambda fd: mmap.mmap(fd, 1, prot=mmap.PROT_WRITE)))


for each in (("the log", log), ("the anchors", anchors), ("the newest archive", archive), ("a compressed archive", packed)):
    overwrite(*each)
attempt("truncate the log by a descriptor that appends", with_descriptor(log, append, lambda fd: os.ftruncate(fd, 0)))
attempt("cut a hole into the log by a descriptor that appends", with_descriptor(log, append, lambda fd: fallocate(fd, 3)))
attempt("collapse the log by a descriptor that appends", with_descriptor(log, append, lambda fd: fallocate(fd, 8)))
attempt(
    "take O_APPEND off a descriptor",
    with_descriptor(log, append, lambda fd: fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) & ~os.O_APPEND)),
)
attempt("write to its start by splice(2)", with_descriptor(log, append, splice))
attempt("write to its start by copy_file_range(2)", with_descriptor(log, append, copy_range))
attempt("open a descriptor of it anew to overwrite", with_descriptor(log, append, lambda fd: os.close(os.open(f"/proc/self/fd/{fd}", os.O_RDWR))))
attempt("lift its flags by their newer call", with_descriptor(log, os.O_RDONLY, lambda fd: fcntl.ioctl(fd, 0x401C5820, bytes(28))))
attempt("leave the cgroup that is frozen", leave)
attempt("stop a process of root's", lambda: os.kill(1, signal.SIGSTOP))
attempt("make a file in the directory", lambda: os.mknod(f"{directory}/x"))
attempt("make an archive that is none", lambda: os.mknod(f"{log}.3"))
attempt("put another directory in place of it", lambda: os.rename(directory, f"{directory}.x"))
attempt("look into the folder of segments", lambda: os.listdir(f"{directory}/.segment"))
attempt("hold the lock of the rotation", with_descriptor("/run/nous-vm/rotation-rotation-test.lock", os.O_RDWR, lambda fd: None))
print(json.dumps(got))
