"""What the rotation tests stand on: the seal program as a module, and a host with systemd that the role is applied to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
PROGRAM = REPOSITORY / "collections/ansible_collections/nous/vm/roles/audit_logrotate/files/nous-vm-seal"
IMAGE = os.environ.get("NOUS_VM_TEST_IMAGE", "nous-vm-host:debian-13-packages")
FLAGS = [
    *("--cap-add", "SYS_ADMIN", "--cap-add", "LINUX_IMMUTABLE", "--cap-add", "NET_ADMIN", "--cap-add", "SYS_PTRACE"),
    *("--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined", "--cgroupns=private"),
    *("--tmpfs", "/run", "--tmpfs", "/run/lock"),
]
NAME = "rotation-test"
DIRECTORY = f"/var/log/{NAME}"
LOG = f"{DIRECTORY}/audit.jsonl"
ROTATE = f"audit-logrotate-{NAME}.service"
WRITER = f"{NAME}-writer.service"
TOOLS = f"/usr/local/lib/{NAME}"


def load_seal() -> types.ModuleType:
    """Run the program's text as a module; an import would leave byte code beside it."""
    module = types.ModuleType("nous_vm_seal")
    sys.modules[module.__name__] = module  # dataclasses look their module up
    exec(compile(PROGRAM.read_text(encoding="utf-8"), PROGRAM, "exec"), module.__dict__)
    return module


def may_be_seen(pid: str) -> bool:
    """Tell whether root may look into a process: in a container it may not always."""
    try:
        os.readlink(f"/proc/{pid}/cwd")
    except PermissionError:
        return False
    except OSError:
        pass
    return True


@pytest.fixture
def seal() -> types.ModuleType:
    """The program as a module; of the processes of this machine it is shown those that root may look into here."""
    module = load_seal()
    everybody = module.processes
    module.processes = lambda: list(filter(may_be_seen, everybody()))
    return module


class Host:
    """A container with systemd as its first process."""

    def __init__(self, container: str) -> None:
        self.container = container

    def run(self, *argv: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = ["docker", "exec", "--interactive", self.container, *argv]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def out(self, *argv: str) -> str:
        return self.run(*argv).stdout.strip()

    def put(self, path: str, content: str) -> None:
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1"', "-", path, stdin=content)

    def unit(self, name: str, content: str) -> None:
        self.put(f"/run/systemd/system/{name}", content)
        self.run("systemctl", "daemon-reload")

    def drop(self, name: str) -> None:
        self.run("rm", "-rf", f"/run/systemd/system/{name}")
        self.run("systemctl", "daemon-reload")

    def show(self, unit: str, name: str) -> str:
        return self.out("systemctl", "show", "--value", f"--property={name}", unit)

    def rotate(self) -> bool:
        """Run one rotation as its timer would; tell whether it succeeded."""
        return self.run("systemctl", "start", ROTATE, check=False).returncode == 0

    def said(self) -> str:
        """Return what the last rotation said."""
        return self.out("journalctl", "--output=cat", f"_SYSTEMD_INVOCATION_ID={self.show(ROTATE, 'InvocationID')}")

    def append_only(self, path: str = LOG) -> bool:
        return "a" in self.out("lsattr", path).split()[0]

    def frozen(self) -> bool:
        return self.show(WRITER, "FreezerState") != "running"

    def archives(self) -> dict[str, str]:
        """Return inode and attributes of every archive by its name."""
        listed = self.out("sh", "-c", f"cd {DIRECTORY} && for file in audit.jsonl.*; do stat -c '%n %i %s %U:%G %a' $file; done 2>&1 || true")
        return {line.split()[0]: line.partition(" ")[2] for line in listed.splitlines() if "cannot stat" not in line}

    def walk(self) -> dict[str, int]:
        """Follow the chain through all archives and the log, by a program that knows nothing of the rotation."""
        return json.loads(self.out("python3", f"{TOOLS}/walk.py", LOG))


def play(host: Host, **variables: object) -> subprocess.CompletedProcess[str]:
    """Apply the role to the host."""
    playbook = "- {hosts: all, gather_facts: false, roles: [nous.vm.audit_logrotate]}\n"
    inventory = f"{host.container},"
    how = {
        "ansible_connection": "community.docker.docker",
        "ansible_python_interpreter": "/usr/bin/python3",
        "audit_logrotate_name": NAME,
        "audit_logrotate_directory": DIRECTORY,
        "audit_logrotate_anchors": ["anchors.jsonl"],
        "audit_logrotate_units": [WRITER, f"{NAME}-absent.service"],
        "audit_logrotate_group": NAME,
    }
    command = ["ansible-playbook", "--inventory", inventory, "--extra-vars", json.dumps(how | variables), "/dev/stdin"]
    return subprocess.run(command, cwd=REPOSITORY, input=playbook, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def host() -> Iterator[Host]:
    """A host with the role applied: NOUS_VM_TEST_HOST if it is set, else a container of its own."""
    given = os.environ.get("NOUS_VM_TEST_HOST")
    container = given or f"nous-vm-{NAME}-{os.getpid()}"
    host = Host(container)
    if not given:
        subprocess.run(["docker", "run", "--detach", "--rm", "--name", container, *FLAGS, IMAGE], check=True, capture_output=True)
    try:
        host.run("systemctl", "is-system-running", "--wait", check=False)
        done = play(host)
        assert done.returncode == 0, done.stdout + done.stderr
        for tool in ("writer.py", "walk.py", "kill_at.py"):
            host.put(f"{TOOLS}/{tool}", (HERE / tool).read_text(encoding="utf-8"))
        yield host
    finally:
        if given:
            clean(host)
        else:
            subprocess.run(["docker", "rm", "--force", container], check=True, capture_output=True)


def clean(host: Host) -> None:
    """Leave a host that is not ours as it was."""
    units = f"audit-logrotate-{NAME}"
    host.run("systemctl", "disable", "--now", f"{units}.timer", f"{units}-recover.service", check=False)
    host.run("systemctl", "stop", WRITER, check=False)
    host.run("chattr", "-R", "-a", "-i", DIRECTORY, check=False)
    host.run("sh", "-c", f"rm -rf {DIRECTORY} {TOOLS} /var/lib/{units} /etc/nous-vm/audit/{NAME}.* /etc/systemd/system/{units}*")
    host.run("sh", "-c", f"rm -rf /run/systemd/system/{NAME}* /run/systemd/system/{units}*; systemctl daemon-reload; groupdel {NAME}")


@pytest.fixture
def writer(host: Host) -> Iterator[Host]:
    """A service that opened the log once and writes numbered, chained lines to it; it goes on from the log's last line."""
    content = f"[Service]\nExecStart=/usr/bin/python3 {TOOLS}/writer.py {LOG} 1000\nDynamicUser=yes\nGroup={NAME}\nSupplementaryGroups={NAME}\n"
    host.unit(WRITER, content + f"ReadWritePaths={DIRECTORY}\n")
    host.run("systemctl", "start", WRITER)
    yield host
    host.run("systemctl", "stop", WRITER)
    host.drop(WRITER)
