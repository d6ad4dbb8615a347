"""Releases on a host, which are copies of the current one, so that nothing is built here; and the program watched act by act."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from controller import wait
from host import Host

PROGRAM = "/usr/local/sbin/nous-vm"
ROOT, DATABASE, ENVIRONMENT, CURRENT = "/opt/nous", "/var/lib/nous/state.db", "/etc/nous/nous.env", "/etc/nous-vm/current"
WATCH, PTH = "/run/nous-vm-acts", "nous-vm-acts.pth"
HERE = Path(__file__).parent
COPY = f"""
cd {ROOT}/releases; rm -rf "$2"; cp -al "$1" "$2"; cd "$2"
for file in $(grep -rlI "$1" --include=*.pth --include=pyvenv.cfg --include=direct_url.json venv) source/src/nous/release.py release.json; do
  sed "s|$1|$2|g" "$file" > .new; mv .new "$file"
done
printf 'VERSION = "%s"\\nFAULT = "%s"\\n' "$2" "$3" > source/src/nous/release.py
rm -rf source/src/nous/__pycache__/release.* failed.json
"""


# Write the record of a release anew, as root does after a build, so that it is not damaged.
RECORD = f"""
import json, sys; sys.path.insert(0, "/usr/local/lib/nous-vm")
from pathlib import Path
from nous_vm.build import release, stream
folder = Path("{ROOT}/releases", sys.argv[1])
found = stream.read(folder, release.OWN)
about = json.loads((folder / release.COMPLETE).read_bytes()) | {{"tree": {{"sha256": found.digest, "entries": found.entries, "size": found.size}}}}
(folder / release.COMPLETE).write_text(json.dumps(about, indent=4))
"""


class Done(NamedTuple):
    """What the program ended with, and its document."""

    rc: int
    document: dict[str, Any]
    stderr: str


class Releases:
    """A host with the release that it came with, and copies of it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.first = self.status()["current"]
        self.short = max(8.0, 5 * host.start_takes)  # seconds for a release that is never ready, and for the one before to start

    def run(self, *arguments: str) -> Done:
        command = ["docker", "exec", self.host.container, PROGRAM, *arguments, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return Done(done.returncode, json.loads(done.stdout or "{}"), done.stderr)

    def well(self, *arguments: str) -> dict[str, Any]:
        done = self.run(*arguments)
        assert done.rc == 0, done
        return done.document

    def status(self) -> dict[str, Any]:
        return self.run("releases").document

    def copy(self, name: str, fault: str = "none") -> str:
        self.host.sh(f"set -- {self.first} {name} {fault}; {COPY}")
        self.record(name)
        return name

    def record(self, name: str) -> None:
        """Have a release that a test changed be one that was built like that."""
        self.host.sh(f"python3 -B - {name}", stdin=RECORD)

    def configure(self, **settings: Any) -> None:
        script = f"import json; p = '/etc/nous-vm/deploy.json'; c = json.load(open(p)); c.update({settings!r}); json.dump(c, open(p, 'w'))"
        self.host.sh("python3 -", stdin=script)

    def admin(self, command: str) -> str:
        script = (
            "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/nous-proxy-admin/haproxy.sock');"
            f"s.sendall({command.encode()!r} + b'\\n'); print(b''.join(iter(lambda: s.recv(65536), b'')).decode())"
        )
        return self.host.sh("python3 -", stdin=script)

    def traffic_flows(self) -> bool:
        """Tell whether the proxy takes connections."""
        return self.admin("show stat nous 1 -1").splitlines()[1].split(",")[17] == "OPEN"

    def assert_sound(self, *may: str) -> str:
        """One of the releases that may be current is, nothing is left half-done, clients get in; return which."""
        wait(self.host.answers, "an answer")
        status = self.status()
        assert status["current"] in may
        assert (status["interrupted"], status["lock"], status["unhealthy"]) == (None, None, None)
        assert self.traffic_flows()
        assert self.host.sh(f"readlink -f {ROOT}/current/source/src/nous/release.py") == f"{ROOT}/releases/{status['current']}/source/src/nous/release.py"
        return str(status["current"])


def watch(host: Host) -> None:
    """Have every Python look whether it is to be watched. nous-vm runs isolated (-I), so no variable of the environment reaches it; a .pth file does."""
    host.put(f"{WATCH}/acts.py", (HERE / "acts.py").read_text(encoding="utf-8"))
    host.put(f"{packages(host)}/{PTH}", f"import os; os.path.exists('{WATCH}/plan') and exec(open('{WATCH}/acts.py').read(), {{}})\n")


def unwatch(host: Host) -> None:
    host.sh(f"rm -rf {WATCH} {packages(host)}/{PTH}")


def packages(host: Host) -> str:
    return host.sh("python3 -c 'import sys; print(\"/usr/local/lib/python%d.%d/dist-packages\" % sys.version_info[:2])'")


class Act(NamedTuple):
    """What the program does to its host at a step, the how many-th of that step."""

    step: str
    number: int
    what: str


def plan(host: Host, command: str, action: str, act: Act) -> None:
    host.sh(f"rm -f {WATCH}/log; echo {command} {action} {act.step} {act.number} > {WATCH}/plan")


def done(host: Host) -> list[Act]:
    """Return what the program did."""
    found: list[Act] = []
    for step, what in (line.split(" ", 1) for line in host.sh(f"cat {WATCH}/log || true").splitlines()):
        found.append(Act(step, sum(act.step == step for act in found), what))
    return found


def command_in(acts: list[Act], step: str, word: str) -> Act:
    """Return the first act of a step that runs a command with a word in it."""
    return next(act for act in acts if act.step == step and "Popen" in act.what and word in act.what)


@contextlib.contextmanager
def stopped_at(releases: Releases, point: Act, release: str, by: str = "root") -> Iterator[None]:
    """Let the deployment come to an act, and stop there. It must be ended, or go on, within."""
    plan(releases.host, "deploy", "stop", point)
    command = ["docker", "exec", f"--env=SUDO_USER={by}", releases.host.container, PROGRAM, "deploy", release]
    asked = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait(lambda: [act for act in done(releases.host) if act[:2] == point[:2]], f"{point}")
    yield
    asked.wait()
