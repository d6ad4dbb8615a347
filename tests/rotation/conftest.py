"""What the rotation tests stand on: hosts with systemd that the role is applied to.

The short form runs on every platform in NOUS_VM_TEST_PLATFORMS; NOUS_VM_ROTATION=full runs all of it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import container
from container import FLAGS
from forms import PLATFORMS, Form

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
FULL = os.environ.get("NOUS_VM_ROTATION") == "full"
FORM = Form(FULL, "make rotation-full")
only_full, only_on = FORM.only_full, FORM.only_on
LOOP = ["--device-cgroup-rule", "b 7:* rwm", "--device-cgroup-rule", "c 10:237 rwm"]  # devices for a small disk
NAME = "rotation-test"
DIRECTORY = f"/var/log/{NAME}"
LOG, SECOND = f"{DIRECTORY}/audit.jsonl", f"{DIRECTORY}/second.jsonl"
ROTATE = f"audit-logrotate-{NAME}.service"
WRITER, OTHER = f"{NAME}-writer.service", f"{NAME}-other.service"
TRACED = f"/etc/systemd/system/{ROTATE}.d/traced.conf"
TOOLS = f"/usr/local/lib/{NAME}"
KEEP = 400


@pytest.fixture(scope="session")
def full() -> bool:
    return FULL


class Host:
    """A container with systemd as its first process, with the role applied for NAME and its two logs."""

    log, second, directory, rotation, writer, other = LOG, SECOND, DIRECTORY, ROTATE, WRITER, OTHER

    def __init__(self, platform: str, name: str = NAME, flags: list[str] | None = None) -> None:
        self.container = container.shared_name(f"nous-vm-{name}-{platform}")
        self.image = f"nous-vm-host:{platform}-packages"
        self.flags = FLAGS + LOOP + (flags or [])
        self.started = False

    def run(self, *argv: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = ["docker", "exec", "--interactive", self.container, *argv]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=7200 if FULL else 600)
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def out(self, *argv: str) -> str:
        return self.run(*argv).stdout.strip()

    def sh(self, script: str, check: bool = True) -> str:
        return self.run("sh", "-eu", "-c", script, check=check).stdout.strip()

    def put(self, path: str, content: str) -> None:
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1"', "-", path, stdin=content)

    def python(self, tool: str, *arguments: str) -> str:
        return self.out("python3", f"{TOOLS}/{tool}", *arguments)

    def start(self) -> None:
        """Switch it on: the first time, or after a crash."""
        if self.started:  # a crash takes no host for another, though its image may have been built anew meanwhile
            subprocess.run(["docker", "start", self.container], check=True, capture_output=True)
        else:
            container.start(self.container, self.image, *self.flags)
            self.started = True
        self.sh(f"until systemctl is-system-running --wait 2>&1 | grep -Eqx 'running|degraded'; do sleep 0.1; done; mkdir -p /run/{NAME}")

    def mount(self, megabytes: int, options: str = "loop", directory: str = DIRECTORY, inodes: int = 4096) -> None:
        """Put a log's directory on an ext4 file system of its own, with a journal."""
        self.sh(
            "[ -e /dev/loop-control ] || mknod /dev/loop-control c 10 237; for n in $(seq 0 31); do [ -e /dev/loop$n ] || mknod /dev/loop$n b 7 $n; done"
            f"; rm -f /var/tmp/disk; truncate --size={megabytes}M /var/tmp/disk; mkfs.ext4 -q -F -N {inodes} /var/tmp/disk"
            f"; mkdir -p {directory}; mount -o {options} /var/tmp/disk {directory}; rmdir {directory}/lost+found"
        )

    def crash(self) -> None:
        """Take its power away; what was written and not synced stays in the page cache."""
        subprocess.run(["docker", "kill", self.container], check=True, capture_output=True)

    def rotate(self) -> bool:
        """Run one rotation as its timer would; tell whether it succeeded."""
        return self.run("systemctl", "start", ROTATE, check=False).returncode == 0

    def printed(self) -> str:
        """Return what the last rotation printed."""
        return self.sh(f"id=$(systemctl show --value --property=InvocationID {ROTATE}); journalctl --output=cat _SYSTEMD_INVOCATION_ID=$id + INVOCATION_ID=$id")

    def drive(self, **work: object) -> dict[str, list[str]]:
        """Let the host rotate, and kill, again and again by itself."""
        found: dict[str, list[str]] = json.loads(self.python("drive.py", json.dumps(work)))
        return found

    def held(self, label: str, at: int | str) -> str:
        """Begin a rotation and hold it at a call, by its number or as before=CALL=PATH or after=CALL=PATH; return which, or nothing if there is none."""
        self.put(f"/run/{NAME}/plan", f"{label} hold {at}\n")
        log = f"/run/{NAME}/{label}.log"
        self.sh(f"rm -f {log}; systemctl start --no-block {ROTATE}")
        return self.sh(
            f"while :; do grep ^held {log} 2>/dev/null && break; [ $(systemctl is-active {ROTATE}) = activating ] || break; sleep 0.02; done || true"
        )

    def calls(self, label: str) -> list[str]:
        """Return the calls of one rotation."""
        self.put(f"/run/{NAME}/plan", f"{label} log 0\n")
        assert self.rotate(), self.printed()
        self.sh(f"rm /run/{NAME}/plan")
        return self.out("cat", f"/run/{NAME}/{label}.log").splitlines()

    def archives(self) -> dict[str, str]:
        """Return inode, size, owner, mode and flags of every archive by its name."""
        listed = self.sh(
            f'cd {DIRECTORY}; for f in *.jsonl.*; do [ -e "$f" ] && echo "$(stat -c "%n %i %s %U:%G %a" $f) $(lsattr $f | cut -c5,6)"; done || true'
        )
        return {line.split()[0]: line.partition(" ")[2] for line in listed.splitlines()}

    def begin(self, rate: int = 1000, how: str = "") -> None:
        """Empty the logs, remove the archives, and let a service write that opened its log once."""
        self.stop()
        self.sh(
            f"cd {DIRECTORY}; chattr -f -i -a *.jsonl* || true; rm -rf *.jsonl.* .segment; : > {LOG}; : > {SECOND}; chattr +a *.jsonl"
            f"; rm -f /run/{NAME}/*; sed -i 's|\\(ExecStart=.* {LOG}\\).*|\\1 {rate} {how}|' /etc/systemd/system/{WRITER}; systemctl daemon-reload"
            f"; systemctl start {WRITER}; until [ $(stat -c %s {LOG}) -gt 10000 ]; do sleep 0.1; done"
        )

    @contextmanager
    def other_runs(self, script: str, kind: str = "exec") -> Iterator[None]:
        """Let the second service run something else, as the account that it has."""
        place = f"/etc/systemd/system/{OTHER}.d"
        self.put(f"{place}/script", script)
        self.put(f"{place}/script.conf", f"[Service]\nType={kind}\nTimeoutStartSec=infinity\nExecStart=\nExecStart=/bin/sh {place}/script\n")
        self.sh(
            f"systemctl daemon-reload; systemctl start --no-block {OTHER}"
            f'; until [ -n "$(systemctl list-units --no-legend --state=active,activating {OTHER})" ]; do sleep 0.05; done'
        )
        try:
            yield
        finally:
            self.sh(f"systemctl stop {OTHER}; rm -r {place}; systemctl daemon-reload")

    @contextmanager
    def as_installed(self) -> Iterator[None]:
        """Run the rotation exactly as the role installed it, not under trace.py."""
        self.sh(f"mv {TRACED} {TRACED}.away; systemctl daemon-reload")
        try:
            yield
        finally:
            self.sh(f"mv {TRACED}.away {TRACED}; systemctl daemon-reload")

    def frozen(self, unit: str) -> bool:
        """Tell whether the kernel has frozen a service."""
        return "frozen 1" in self.sh(f"cat /sys/fs/cgroup$(systemctl show --value --property=ControlGroup {unit})/cgroup.events")

    def wait_holder(self, unit: str, path: str = LOG) -> None:
        """Wait until a service holds a file open."""
        self.sh(f"until ls -l /proc/$(systemctl show --value --property=MainPID {unit})/fd 2>/dev/null | grep -q {path}; do sleep 0.05; done")

    def play_again(self, executions: Path, **variables: object) -> str:
        """Apply the role once more; return what ansible-playbook printed, and write down which modules ran."""
        done = play(self, executions, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def stop(self) -> None:
        self.sh(f"systemctl stop {WRITER} {OTHER}")

    def walk(self, log: str = LOG) -> dict[str, int]:
        """Follow the chain through all archives and the log, by a program that knows nothing of the rotation."""
        found: dict[str, int] = json.loads(self.python("walk.py", log))
        return found

    def assert_complete(self, log: str = LOG, unit: str = WRITER) -> dict[str, int]:
        """Nothing is lost, doubled, torn or out of order, from the first line to the last that the service printed."""
        self.run("systemctl", "stop", unit)
        found = self.walk(log)
        wrote = self.sh(f"journalctl --output=cat --unit={unit} --grep='^wrote up to' --lines=1")
        assert {key: found[key] for key in ("lost", "doubled", "torn", "unchained")} == {"lost": 0, "doubled": 0, "torn": 0, "unchained": 0}
        assert wrote == f"wrote up to {found['last']}"
        assert found["lines"] == found["last"] + 1
        return found


CONNECTION = {"ansible_connection": "community.docker.docker", "ansible_python_interpreter": "/usr/bin/python3"}


def play(host: Host, executions: Path | None = None, **variables: object) -> subprocess.CompletedProcess[str]:
    """Apply the role to the host."""
    how = {
        "audit_logrotate_name": NAME,
        "audit_logrotate_directory": DIRECTORY,
        "audit_logrotate_files": ["audit.jsonl", "second.jsonl"],
        "audit_logrotate_anchors": ["anchors.jsonl"],
        "audit_logrotate_units": [WRITER, OTHER, f"{NAME}-absent.service"],
        "audit_logrotate_group": NAME,
        "audit_logrotate_keep": KEEP,
        "audit_logrotate_guard": "off",
    }
    return apply(host, ["audit_logrotate"], executions, **(how | variables))


def apply(host: Host, roles: list[str], executions: Path | None = None, **variables: object) -> subprocess.CompletedProcess[str]:
    """Apply roles to the host."""
    playbook = json.dumps([{"hosts": "all", "gather_facts": False, "roles": [f"nous.vm.{role}" for role in roles]}])
    command = ["ansible-playbook", "--inventory", f"{host.container},", "--extra-vars", json.dumps(CONNECTION | variables), "/dev/stdin"]
    counting = {"ANSIBLE_CALLBACK_PLUGINS": str(REPOSITORY / "tests/callbacks"), "ANSIBLE_CALLBACKS_ENABLED": "executions"}
    counting |= {"NOUS_VM_EXECUTIONS": str(executions)} if executions else {}
    return subprocess.run(command, cwd=REPOSITORY, env=os.environ | counting, input=playbook, capture_output=True, text=True, check=False)


def service(log: str) -> str:
    return f"""[Unit]
StartLimitIntervalSec=0
[Service]
ExecStart=/usr/bin/python3 {TOOLS}/writer.py {log} 1000
DynamicUser=yes
SupplementaryGroups={NAME}
ReadWritePaths={DIRECTORY}
[Install]
WantedBy=multi-user.target
"""


def traced(name: str = NAME) -> str:
    """The command of the rotation, as the role installed it, but under trace.py, which may kill it."""
    command = "/usr/bin/python3 -I /usr/local/sbin/nous-vm audit"
    under = f"/usr/bin/python3 {TOOLS}/trace.py"
    return f"""[Service]
ExecStart=
ExecStart={under} rotate -- {command} rotate --name {name}
SystemCallFilter=@debug
ReadWritePaths=-/run/{NAME} -/run/rotation-memory
"""


@pytest.fixture(scope="session", params=PLATFORMS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host with the stand-in for nous, as the roles of the site run it, and its log."""
    caches = [word for cache in ("uv:/var/cache/uv", "pip:/root/.cache/pip") for word in ("--volume", f"nous-vm-cache-{cache}")]
    host = Host(request.param, "rotation-server", caches)
    archive = tmp_path_factory.mktemp("release") / "nous-1.0.0.tar.gz"
    subprocess.run([sys.executable, REPOSITORY / "tests/standin/pack.py", archive], check=True)
    variables = {
        "audit_logrotate_keep": 40 if FULL else 2,  # so that some go
        "audit_logrotate_reserve": 4,
        "nous_service_issuer": "https://nous.example.org",
        "nous_service_python": "/usr/bin/python3",
        "nous_service_source": "archive",
        "nous_service_archive": str(archive),
        "nous_service_build_environment": "{{ python_runtime_installer_environment }}",
    }
    try:
        host.start()
        # A disk of its own, small enough to be filled.
        if "/var/log/nous" not in host.out("cat", "/proc/mounts"):
            host.mount(megabytes=64, directory="/var/log/nous")
        done = apply(host, ["python_runtime", "audit_logrotate", "nous_service"], None, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        for tool in (HERE / "drive.py", HERE / "trace.py", HERE / "load.py", REPOSITORY / "tests/clients/mcp_client.py", REPOSITORY / "tests/standin/chain.py"):
            host.put(f"{TOOLS}/{tool.name}", tool.read_text(encoding="utf-8"))
        host.put("/etc/systemd/system/audit-logrotate-nous.service.d/traced.conf", traced("nous"))
        host.run("systemctl", "daemon-reload")
        yield host
    finally:
        container.remove(host.container)


@pytest.fixture(scope="session", params=PLATFORMS)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """A host with the role applied, two services that write, and the tools of these tests."""
    host = Host(request.param)
    try:
        host.start()
        done = play(host)
        assert done.returncode == 0, done.stdout + done.stderr
        for tool in ("writer.py", "walk.py", "trace.py", "drive.py", "hostile.py"):
            host.put(f"{TOOLS}/{tool}", (HERE / tool).read_text(encoding="utf-8"))
        host.put(f"/etc/systemd/system/{WRITER}", service(LOG))
        host.put(f"/etc/systemd/system/{OTHER}", service(SECOND))
        installed = host.sh(f"grep ^ExecStart= /etc/systemd/system/{ROTATE}").splitlines()
        for line in installed:  # the drop-in has the same, but under trace.py
            assert line.removeprefix("ExecStart=") in traced(), f"the role installs {line}: have traced() run that too"
        host.put(f"/etc/systemd/system/{ROTATE}.d/often.conf", "[Unit]\nStartLimitIntervalSec=0\n")
        host.put(TRACED, traced())
        host.run("systemctl", "daemon-reload")
        yield host
    finally:
        container.remove(host.container)
