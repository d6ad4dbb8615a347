"""A VM: qemu with a serial console, a seed for cloud-init, a disk whose unflushed writes are lost with the power, and ports on 127.0.80.9."""

from __future__ import annotations

import functools
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from controller import sh, wait

from .disk import Disk

ADDRESS, SSH = "127.0.80.9", 2222
OUTSIDE = "10.0.2.2"  # who comes in through a forwarded port, as the VM sees it
PATIENCE = 3600  # seconds: without hardware acceleration all takes ten times as long, and more on a busy machine
T = TypeVar("T")
COMMAND_LINE = "root=/dev/vda ro console=ttyS0 ds=nocloud"


@functools.cache
def acceleration(disk: Disk) -> tuple[str, ...]:
    """Return how to run a VM here: KVM if it comes as far as the first process (there are machines on which it only seems to work), else emulated."""
    # One processor: while two run in threads of their own, the kernel's patching of its own code, "Oops: int3", can end an emulated boot.
    emulated = ("-accel", "tcg,tb-size=512", "-cpu", "max", "-smp", "1")
    if not Path("/dev/kvm").exists():
        return emulated
    accelerated = ("-accel", "kvm", "-cpu", "host", "-smp", "2")
    command: list[str | Path] = ["qemu-system-x86_64", *accelerated, "-m", "512", "-kernel", disk.kernel, "-initrd", disk.initrd]
    command += ["-append", "console=ttyS0", "-display", "none", "-serial", "stdio"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as vm:
        watch = subprocess.run(["timeout", "20", "grep", "--quiet", "--text", "Run /init"], stdin=vm.stdout, check=False)
        vm.kill()
    return accelerated if watch.returncode == 0 else emulated


class Machine:
    def __init__(self, disk: Disk, seed: Path, key: Path, work: Path) -> None:
        self.made, self.seed, self.key, self.work = disk, seed, key, work
        self.disk, self.console_log = work / "disk.raw", work / "console.log"
        self.socket, self.master = work / "nbd", work / "ssh"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.on_since = 0.0
        sh("cp", "--sparse=always", disk.image, self.disk)
        self.console_log.touch()

    def power_on(self) -> None:
        """nbdkit keeps what the VM writes in memory until the VM flushes, as the cache of a disk does."""
        self.socket.unlink(missing_ok=True)
        store: list[str | Path] = ["nbdkit", "--foreground", "--unix", self.socket, "--filter=cache", "file", self.disk, "cache=writeback"]
        self.processes = [subprocess.Popen(store)]
        self.wait(self.socket.exists, "the disk")
        ports = [f"hostfwd=tcp:{ADDRESS}:{SSH}-:22", f"hostfwd=tcp:{ADDRESS}:80-:80", f"hostfwd=tcp:{ADDRESS}:443-:443"]
        argv: list[str | Path] = [
            *("qemu-system-x86_64", *acceleration(self.made), "-M", "q35", "-m", "3072"),
            *("-kernel", self.made.kernel, "-initrd", self.made.initrd, "-append", COMMAND_LINE),
            *("-drive", f"file=nbd+unix:///?socket={self.socket},format=raw,if=virtio,cache=writeback"),
            *("-drive", f"file={self.seed},format=raw,if=virtio,readonly=on"),
            *("-nic", ",".join(["user,model=virtio-net-pci", *ports]), "-device", "virtio-rng-pci"),
            *("-display", "none", "-monitor", "none", "-chardev", f"file,id=console,path={self.console_log},append=on", "-serial", "chardev:console"),
        ]
        self.on_since = time.monotonic()
        self.processes.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL))

    def cut_power(self) -> None:
        for process in reversed(self.processes):
            process.send_signal(signal.SIGKILL)
        for process in self.processes:
            process.wait()
        self.processes = []
        self.master.unlink(missing_ok=True)

    def printed(self) -> int:
        """Return how many bytes the console has printed up to now."""
        return self.console_log.stat().st_size

    def console(self, since: int = 0) -> str:
        """Return what the console printed behind an offset."""
        with self.console_log.open("rb") as log:
            log.seek(since)
            return log.read().decode(errors="replace")

    def wait(self, condition: Callable[[], T | None], what: str) -> T:
        """Wait until a condition holds, and return what it returned; the VM must not end meanwhile."""

        def while_it_runs() -> T | None:
            assert all(process.poll() is None for process in self.processes), f"qemu or nbdkit ended while waiting for {what}; see {self.console_log}"
            return condition()

        found: T = wait(while_it_runs, f"{what}; see {self.console_log}", PATIENCE)
        return found

    def wait_on_console(self, pattern: str, since: int) -> re.Match[str]:
        return self.wait(lambda: re.search(pattern, self.console(since), re.MULTILINE), pattern)

    def ssh(self, script: str, check: bool = True) -> str:
        return sh("ssh", *self.options, "-p", str(SSH), f"debian@{ADDRESS}", f"sudo sh -eu -c {shlex.quote(script)}", check=check)

    @property
    def options(self) -> list[str]:
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=30", "ServerAliveInterval=30"]
        options += ["ControlMaster=auto", "ControlPersist=600", f"ControlPath={self.master}"]
        return ["-i", str(self.key), *(word for option in options for word in ("-o", option))]
