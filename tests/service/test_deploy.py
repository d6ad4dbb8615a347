"""Deployments on a host: candidates that fail, and the program killed, or the host switched off, before each of its acts.

Releases are copies of the current one, so that nothing is built here.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from controller import REPOSITORY, wait
from host import FULL, SITE, UNIT, Host, only_full, only_on, rest
from wire import HOST, OPERATOR, STRANGER, VENDOR

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


@pytest.fixture
def releases(host: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[Releases]:
    monkeypatch.setattr("host.RATE", 50)  # requests are sent to be lost; how many the proxy carries is shown elsewhere
    host.sh("cp -a /etc/nous-vm/deploy.json /root/deploy.json")
    made = Releases(host)
    made.configure(keep=20)
    yield made
    unwatch(host)
    host.sh("cp -a /root/deploy.json /etc/nous-vm/deploy.json")
    made.well("deploy", made.first, "--again")
    host.sh(f"cd {ROOT}/releases; for each in *; do [ $each = {made.first} ] || rm -rf $each; done; rm -rf {ROOT}/backups/*")
    # A copy of the next test may have the name of one that answered in this.
    host.sh("cd /etc/nous-vm/generations; for each in *; do [ $each = $(basename $(readlink ../current)) ] || rm -rf $each; done")


@pytest.fixture
def watched(releases: Releases) -> Iterator[Releases]:
    """The same, with acts.py watching the program in its units."""
    watch(releases.host)
    yield releases


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


@pytest.fixture(scope="module")
def acts(host: Host) -> list[Act]:
    """Let the program deploy another release undisturbed; return what it did. What it repeats while it waits for the server counts once."""
    releases = Releases(host)
    other = releases.copy("other")
    watch(host)
    plan(host, "deploy", "log", Act("-", 0, ""))
    releases.well("deploy", other)
    found = done(host)
    assert {act.step for act in found} == {"before", "pause", "stop", "candidate", "known-good", "after"}
    unwatch(host)
    releases.well("deploy", releases.first)
    return [act for index, act in enumerate(found) if act.step != "candidate" or act.what not in {each.what for each in found[:index]}]


def command_in(acts: list[Act], step: str, word: str) -> Act:
    """Return the first act of a step that runs a command with a word in it."""
    return next(act for act in acts if act.step == step and "Popen" in act.what and word in act.what)


def chosen(acts: list[Act]) -> list[Act]:
    """Return where to kill: everywhere, or in the short form once in each step that leaves something to recover."""
    if FULL:
        return acts
    first = {step: next(act for act in acts if act.step == step) for step in ("pause", "stop", "known-good")}
    return [first["pause"], first["stop"], command_in(acts, "stop", "deploy.copies"), command_in(acts, "candidate", "'start'"), first["known-good"]]


def kinds(acts: list[Act]) -> list[Act]:
    """Return of each step one act of a kind: a command by its verb, a file that is written, renamed or removed."""
    found: dict[tuple[str, str], Act] = {}
    for act in acts:
        found.setdefault((act.step, act.what.split(" ")[0] if "Popen" not in act.what else " ".join(act.what.split(" ")[:3])), act)
    return list(found.values())


def power_cycle(host: Host) -> None:
    """Switch the host off as a power cut does, and on again."""
    subprocess.run(["docker", "kill", host.container], check=True, capture_output=True)
    subprocess.run(["docker", "start", host.container], check=True, capture_output=True)
    host.__dict__.pop("network", None)
    host.sh("until systemctl is-system-running --wait 2>&1 | grep -Eqx 'running|degraded'; do sleep 0.1; done")
    for address in (VENDOR, OPERATOR, STRANGER):
        host.sh(f"ip address replace {address}/32 dev lo")


def test_killed_before_each_act(watched: Releases, acts: list[Act]) -> None:
    """With a load on it, from either release to the other: what was acknowledged is there, nothing ran twice, and no request failed."""
    host, current, other = watched.host, watched.first, watched.copy("other")
    points = chosen(acts)
    with host.load() as load:
        for point in points:
            plan(host, "deploy", "kill", point)
            ended = watched.run("deploy", other)
            assert ended.rc == 1 or point.step in ("known-good", "after"), (point, ended)  # then it is deployed, and recover tells
            now = watched.assert_sound(current, other)
            assert now == (other if point.step in ("known-good", "after") else current), point
            current, other = now, {current, other}.difference({now}).pop()
    print(f"killed before {len(points)} acts, {Counter(point.step for point in points)}")
    print(load)
    load.assert_record()
    assert load.failed == []


@contextlib.contextmanager
def stopped_at(releases: Releases, point: Act, release: str, by: str = "root") -> Iterator[None]:
    """Let the deployment come to an act, and stop there. It must be ended, or go on, within."""
    plan(releases.host, "deploy", "stop", point)
    command = ["docker", "exec", f"--env=SUDO_USER={by}", releases.host.container, PROGRAM, "deploy", release]
    asked = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait(lambda: [act for act in done(releases.host) if act[:2] == point[:2]], f"{point}")
    yield
    asked.wait()


def test_recovery_killed_too(watched: Releases, acts: list[Act]) -> None:
    """Whatever kills the recovery: systemd starts another, which ends it."""
    host, other = watched.host, watched.copy("other")
    for number in itertools.count(0, 3) if FULL else [9]:
        with stopped_at(watched, command_in(acts, "candidate", "'start'"), other):
            plan(host, "recover", "kill", Act("candidate", number, ""))
            host.sh("kill -KILL $(systemctl show --value --property=MainPID 'nous-vm-deploy-*')")
        wait(lambda: not host.sh(f"ls {ROOT}/deployment.json || true"), "another recovery")
        watched.assert_sound(watched.first)
        if not [act for act in done(host) if act[:2] == ("candidate", number)]:
            break
    assert number >= 9


@only_on("debian-13", "the next test switches it off too")
def test_host_switched_off_before_each_act(watched: Releases, acts: list[Act]) -> None:
    """The boot completes it or rolls it back before the server starts. (In the short form when it was known to be good; the next test has a candidate.)"""
    host, other = watched.host, watched.copy("other")
    points = kinds(acts) if FULL else [next(act for act in acts if act.step == "known-good")]
    print(f"switched off before {len(points)} of {len(acts)} acts, a kind of a step each")
    for point in points:
        with host.load() as load:
            pass
        with stopped_at(watched, point, other):
            power_cycle(host)
        now = watched.assert_sound(watched.first, other)
        assert now == (other if point.step in ("known-good", "after") else watched.first), point
        calls = {call for (call,) in host.query(f"SELECT call_id FROM executed WHERE call_id LIKE '{load.run}-%'")}
        assert {f"{load.run}-{number}" for number in load.executed} <= calls, point
        watch(host)
        watched.well("deploy", watched.first, "--again")


def journal_of_recovery(host: Host) -> str:
    return host.sh("journalctl --boot --quiet --output=cat --unit=nous-recover.service")


@only_on("debian-testing", "the other platform is switched off in the test before")
def test_boot_that_cannot_roll_back(watched: Releases, acts: list[Act]) -> None:
    """The server does not start before it was rolled back, nor for who asks for it; once that can be done, it is, and the server comes."""
    host, other = watched.host, watched.copy("other")
    count = host.query("SELECT count(*) FROM executed")
    with stopped_at(watched, command_in(acts, "candidate", "'start'"), other):
        name = json.loads(host.sh(f"cat {ROOT}/deployment.json"))["backup"]
        host.sh(f"mv {ROOT}/backups/{name} {ROOT}/backups/.lost")
        power_cycle(host)
    wait(lambda: name in journal_of_recovery(host), "the recovery to fail")
    asked = host.sh(f"systemctl start {UNIT} 2>&1", check=False)
    assert (host.show("ActiveState"), host.show("ExecMainStartTimestampMonotonic")) == ("inactive", "0"), "the candidate was started"
    assert "dependency" in asked.lower(), asked
    assert (watched.status()["current"], watched.status()["interrupted"]) == (other, "candidate")
    assert host.check()["deployment"] == "fail"
    host.sh(f"mv {ROOT}/backups/.lost {ROOT}/backups/{name}")
    watched.assert_sound(watched.first)
    assert host.query("SELECT count(*) FROM executed") == count
    assert host.check()["deployment"] == "ok"


def test_journal_that_cannot_be_read(releases: Releases) -> None:
    """A server that runs is left alone, nothing else is begun, and the next start waits for a person."""
    host, pid = releases.host, releases.host.show("MainPID")
    host.put(f"{ROOT}/deployment.json", "")
    assert "deployment.json cannot be read" in releases.run("restart").document["reason"]
    host.sh("systemctl start nous-recover.service")
    assert (host.show("MainPID"), releases.status()["interrupted"], host.check()["deployment"]) == (pid, "unreadable", "fail")
    assert "dependency" in host.sh(f"systemctl restart {UNIT} 2>&1", check=False).lower()
    assert host.show("ActiveState") == "inactive"
    host.sh(f"rm {ROOT}/deployment.json; systemctl start {UNIT}")
    releases.assert_sound(releases.first)


@only_on("debian-13", "the program's own logic")
def test_ended_by_systemd(watched: Releases) -> None:
    host, other = watched.host, watched.copy("other", "hang")
    asked = subprocess.Popen(["docker", "exec", host.container, PROGRAM, "deploy", other, "--json"], stdout=subprocess.PIPE, text=True)
    wait(lambda: watched.status()["interrupted"] == "candidate" and host.show("SubState") == "running", "the candidate")
    host.sh("systemctl stop 'nous-vm-deploy-*'")
    document = json.loads(asked.communicate()[0])
    assert (asked.returncode, document["reason"], document["rollback"]) == (1, "it was stopped, at the step candidate", f"{watched.first} answers again")
    watched.assert_sound(watched.first)
    assert watched.status()["failed"] == {other: "it was stopped, at the step candidate"}


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("crash", "crashes"),
        *rest(("hang", "does not answer"), ("error", "answers 500")),
    ],
)
def test_bad_release(releases: Releases, fault: str, why: str) -> None:
    """Nobody's request fails; it is not tried again until asked."""
    host, bad = releases.host, releases.copy("bad", fault)
    releases.configure(timeout=60 if fault == "crash" else releases.short)
    with host.load() as load:
        tried = releases.run("deploy", bad)
        assert tried.rc == 1
        assert why in tried.document["reason"]
        assert tried.document["rollback"] == f"{releases.first} answers again"
        assert tried.document["journal"]
        load.settle()  # what waited is answered: a server that does not answer in time is started anew
        pid = host.show("MainPID")
        for _ in range(2):
            rejected = releases.run("deploy", bad)
            assert rejected.rc == 1
            assert f"with these settings, {tried.document['reason']}" in rejected.document["reason"]
        assert host.show("MainPID") == pid, "what was rejected stopped the server"
        assert releases.assert_sound(releases.first)
        assert list(releases.status()["failed"]) == [bad]
        assert host.sh(f"stat -c %a {ROOT}/releases/{bad}/failed.json") == "600", "it has lines of the journal"
    load.assert_nothing_failed()
    if fault != "crash" and not FULL:
        return
    # Mended, it is taken, and its failure is forgotten.
    releases.configure(timeout=60)
    releases.host.sh(f"sed -i s/{fault}/none/ {ROOT}/releases/{bad}/source/src/nous/release.py")
    releases.record(bad)
    releases.well("deploy", bad, "--again")
    assert releases.status()["failed"] == {}


WAITING = """
import json, socket, sys
body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "note", "arguments": {"text": "x", "call_id": "waiting"}}})
head = ["POST / HTTP/1.1", "Host: nous.example.org", f"Authorization: Bearer {sys.argv[1]}", "Accept: application/json, text/event-stream"]
head += ["Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close"]
with socket.socket(socket.AF_UNIX) as proxy:
    proxy.connect("/run/nous-proxy/mcp.sock")
    proxy.sendall(("\\r\\n".join(head) + "\\r\\n\\r\\n" + body).encode())
    print(json.dumps(b"".join(iter(lambda: proxy.recv(65536), b"")).decode()))
"""


@only_full("waits for a candidate to run out of time")
def test_what_waits_for_a_dead_server_does_not_reach_a_candidate(releases: Releases) -> None:
    """The candidate might answer it, and the rollback would lose what it wrote."""
    host, bad = releases.host, releases.copy("bad", "error")
    releases.configure(timeout=releases.short)
    host.sh(f"systemctl stop {UNIT}")
    command = ["docker", "exec", host.container, "python3", "-c", WAITING, host.token]
    waiting = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    wait(lambda: int(releases.admin("show stat requests 2 -1").splitlines()[1].split(",")[4]), "the request to wait")
    failed = releases.run("deploy", bad)
    assert failed.document["rollback"] == f"{releases.first} answers again"
    answer = json.loads(waiting.communicate()[0])
    assert "broken on purpose" not in answer
    assert answer == "" or answer.startswith("HTTP/1.1 50")
    assert host.query("SELECT * FROM executed WHERE call_id = 'waiting'") == []


@only_on("debian-testing", "the program's own logic")
def test_rollback(releases: Releases) -> None:
    """Further back each time, and no request fails; what was left does not come back by itself."""
    nothing = releases.run("rollback")
    assert (nothing.rc, "no release before" in nothing.stderr) == (2, True)
    with releases.host.load() as load:
        for name in ("second", "third"):
            releases.well("deploy", releases.copy(name))
        assert releases.well("rollback")["release"] == "second"
        assert "it was rolled back" in releases.run("deploy", "third").document["reason"]
        assert releases.well("rollback")["release"] == releases.first
    load.assert_nothing_failed()
    assert releases.run("rollback").rc == 2
    unknown = releases.run("rollback", "fourth")
    assert (unknown.rc, f"built: {releases.first}, second, third" in unknown.stderr) == (2, True)
    assert releases.well("rollback", "third")["release"] == "third"
    assert list(releases.status()["failed"]) == sorted([releases.first, "second"])


@pytest.mark.parametrize("break_it", ["sed -i '/python/s/: .*/: \"3.1.0\",/' release.json", "rm venv/bin/python"], ids=["another", "gone"])
def test_release_of_another_python(releases: Releases, break_it: str) -> None:
    """It is rejected in one sentence before anything is touched."""
    host, other = releases.host, releases.copy("other")
    host.sh(f"cd {ROOT}/releases/other; {break_it}")
    pid = host.show("MainPID")
    rejected = releases.run("rollback", other)
    assert rejected.rc == 2
    assert "other cannot run: it was built for Python 3." in rejected.stderr
    assert rejected.stderr.count("\n") == 1
    rejected = releases.run("deploy", other)
    assert (rejected.rc, "other cannot run" in rejected.document["message"]) == (1, True)
    assert host.show("MainPID") == pid
    assert releases.assert_sound(releases.first)


@only_full("six more activations; molecule/nous_service has one")
def test_bad_settings(releases: Releases) -> None:
    host = releases.host
    good = host.sh(f"cat {ENVIRONMENT}")
    host.sh(f"echo 'NOUS_TICK_HZ=\"never\"' >> {ENVIRONMENT}")
    tried = releases.run("deploy", releases.first)
    assert (tried.rc, tried.document["rollback"]) == (1, f"{releases.first} was not stopped")
    assert "it ended before it answered initialize: nous: NOUS_TICK_HZ" in tried.document["reason"]
    assert host.sh(f"cat {CURRENT}/nous.env") == good
    assert host.check()["failed releases"] == "warn"
    pid = host.show("MainPID")
    assert releases.run("deploy", releases.first).rc == 1
    assert host.show("MainPID") == pid
    # A server that is away, with settings that are known to be bad, is brought back with those before.
    host.sh(f"systemctl stop {UNIT}")
    assert releases.run("deploy", releases.first).document["rollback"] == f"{releases.first} answers again"
    releases.assert_sound(releases.first)
    # Others are tried, and taken.
    host.sh(f"sed -i 's/^NOUS_TICK_HZ=.*//' {ENVIRONMENT}; echo 'NOUS_TICK_HZ=\"3\"' >> {ENVIRONMENT}")
    assert releases.well("deploy", releases.first)["actions"] == ["switch", "start"]
    assert "NOUS_TICK_HZ=3" in host.sh(f"tr '\\0' '\\n' < /proc/{host.show('MainPID')}/environ")


@only_on("debian-13", "the program's own logic")
def test_migration(releases: Releases) -> None:
    """A migration that fails half-way leaves data and release as they were; one that does not is there for good."""
    host, other = releases.host, releases.copy("other")
    rows = len(host.query("SELECT * FROM executed"))
    script = f"{ROOT}/releases/other/venv/bin/migrate"
    alter = f"import sqlite3; sqlite3.connect('{DATABASE}').execute('ALTER TABLE executed ADD COLUMN extra')"
    host.put(script, f'#!/bin/sh\npython3 -c "{alter}" && echo half-way\nexit $1\n')
    host.sh(f"chmod 755 {script}; cp {script} /root/migrate")
    releases.record(other)
    releases.configure(migrate=["venv/bin/migrate", "3"])
    failed = releases.run("deploy", other)
    assert failed.rc == 1
    assert failed.document["reason"] == "its migration (venv/bin/migrate 3) failed: half-way"
    assert failed.document["rollback"] == f"{releases.first} was not stopped", "it failed on a copy"
    columns = "SELECT name FROM pragma_table_info('executed')"
    assert ["extra"] not in host.query(columns)
    assert len(host.query("SELECT * FROM executed")) >= rows
    releases.assert_sound(releases.first)
    releases.configure(migrate=["venv/bin/migrate", "0"])
    releases.well("deploy", other, "--again")
    assert ["extra"] in host.query(columns)
    assert host.sh(f"stat -c '%U %a' {DATABASE}") == "nous 600"
    # Back to before the migration: the data and the release that it was made under.
    before = next(name for name in reversed(releases.status()["backups"]) if name.startswith(releases.first))
    assert releases.well("restore", before)["release"] == releases.first
    assert ["extra"] not in host.query(columns)


def test_backup_and_restore(releases: Releases) -> None:
    host = releases.host
    with host.load() as load:
        name = releases.well("backup")["backup"]
    load.assert_record()
    counted = f"import sqlite3; print(*sqlite3.connect('{ROOT}/backups/{name}/database').execute('SELECT count(*) FROM executed').fetchone())"
    count = int(host.sh(f'python3 -c "{counted}"'))
    assert count < len(host.query("SELECT * FROM executed"))
    assert releases.well("restore", name)["actions"] == ["restore", "start"]
    assert len(host.query("SELECT * FROM executed")) == count
    assert host.sh(f"stat -c %a {ROOT}/backups {ROOT}/backups/{name}/database").split() == ["700", "600"]
    unknown = releases.run("restore", "yesterday")
    assert unknown.rc == 2
    assert name in unknown.stderr


def test_second_operator(watched: Releases, acts: list[Act]) -> None:
    """Whoever comes while another is at work is told who that is, and nothing is done."""
    host, other = watched.host, watched.copy("other")
    with stopped_at(watched, command_in(acts, "candidate", "'start'"), other, by="ada"):
        for command in (["deploy", watched.first], ["rollback"], ["restart"], ["backup"]):
            told = watched.run(*command)
            assert told.rc == 4 and f"ada, deploy {other}, since" in told.stderr, told
        run = host.play("rollback")
        assert run.returncode == 2 and f"the deployment lock is held by ada, deploy {other}, since" in " ".join(run.stdout.split()), run
        host.sh("kill -CONT $(systemctl show --value --property=MainPID 'nous-vm-deploy-*')")
    watched.assert_sound(other)


@only_on("debian-testing", "the program's own logic")
def test_settings_that_come_beside_a_candidate_are_not_deployed_with_it(watched: Releases, acts: list[Act]) -> None:
    """Somebody else's run writes them. That run is told who holds the deployment lock; the candidate's generation was complete before."""
    host, other = watched.host, watched.copy("other")
    good = host.sh(f"cat {ENVIRONMENT}")
    with stopped_at(watched, command_in(acts, "candidate", "'start'"), other):
        host.sh(f"echo 'NOUS_TICK_HZ=\"never\"' >> {ENVIRONMENT}")
        host.sh("kill -CONT $(systemctl show --value --property=MainPID 'nous-vm-deploy-*')")
    watched.assert_sound(other)
    assert host.sh(f"cat {CURRENT}/nous.env") == good
    host.put(ENVIRONMENT, good + "\n")


@only_on("debian-13", "the program's own logic")
def test_a_rollback_leads_to_the_address_before(releases: Releases) -> None:
    host = releases.host
    proxy, kept = "/etc/nous-vm/proxy.d/50-nous.cfg", f"{ENVIRONMENT} /etc/nous-vm/proxy.d/50-nous.cfg"
    host.sh(f"tar --create --file=/root/kept.tar {kept}")
    before = host.sh(f"cat {proxy}")
    host.sh(f"sed -i s/8088/8099/ {proxy}")
    host.sh(f"sed -i s/8088/8099/ {ENVIRONMENT}")
    releases.configure(address="127.0.0.1:8099")
    tried = releases.run("deploy", "current")  # over stdio it answers; in its place its unit denies it that port
    assert (tried.document["reason"], tried.document["rollback"]) == (f"{UNIT} crashes", f"{releases.first} answers again")
    assert host.sh(f"cat {CURRENT}/proxy.d/50-nous.cfg") == before
    releases.assert_sound(releases.first)
    assert through_the_proxy(host).startswith("HTTP/1.1 200")
    host.sh("tar --extract --directory=/ --file=/root/kept.tar")


def through_the_proxy(host: Host) -> str:
    """Return all that comes on a connection of one request, until the proxy closes it."""
    script = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.settimeout(9); s.connect('/run/nous-proxy/mcp.sock');"
        f"s.sendall(b'GET /.well-known/oauth-protected-resource HTTP/1.1\\r\\nHost: {HOST}\\r\\n\\r\\n');"
        "print(b''.join(iter(lambda: s.recv(65536), b'')).decode())"
    )
    return host.sh("python3 -", stdin=script)


def test_the_proxy_keeps_no_connection(releases: Releases) -> None:
    """One that was kept would lead past a pause."""
    assert through_the_proxy(releases.host).startswith("HTTP/1.1 200")


@only_on("debian-13", "the program's own logic")
def test_traffic_that_was_left_paused_is_resumed(releases: Releases) -> None:
    releases.admin("disable frontend nous")
    assert releases.host.check().get("traffic") == "fail", releases.host.sh("nous-vm check", check=False)
    assert releases.well("deploy", "current")["actions"] == ["resume"]
    assert releases.traffic_flows()
    assert releases.host.check()["traffic"] == "ok"


def test_stopped_server_stays_stopped(releases: Releases) -> None:
    host = releases.host
    host.sh(f"systemctl stop {UNIT}")
    assert releases.well("restart")["changed"] is False
    assert host.show("ActiveState") == "inactive"
    host.sh(f"systemctl start {UNIT}")
    pid = host.show("MainPID")
    assert releases.well("restart")["changed"] is True
    assert host.show("MainPID") != pid


@only_full("waits for a candidate to run out of time")
def test_crash_of_the_proxy_beside_a_candidate(releases: Releases) -> None:
    """It comes back, and is paused again before the candidate answers."""
    host, other = releases.host, releases.copy("other", "hang")
    releases.configure(timeout=releases.short)
    asked = subprocess.Popen(["docker", "exec", host.container, PROGRAM, "deploy", other], stdout=subprocess.DEVNULL)
    wait(lambda: releases.status()["interrupted"] == "candidate" and host.show("SubState") == "running", "the candidate")
    host.sh("systemctl kill --signal=KILL nous-proxy.service")
    wait(lambda: host.show("ActiveState", "nous-proxy.service") == "active", "the proxy")
    with contextlib.suppress(AssertionError):
        wait(lambda: not releases.traffic_flows(), "traffic to be paused", 1)
    paused = not releases.traffic_flows()
    asked.wait()
    assert paused
    releases.assert_sound(releases.first)


def test_drain_and_undrain_are_quick(releases: Releases) -> None:
    """They are part of every stop of the server."""
    script = "import subprocess, time\nfor _ in range(9):\n b = time.monotonic(); subprocess.run(['/usr/local/sbin/nous-vm', 'undrain'], check=True)\n"
    took = releases.host.sh("python3 -", stdin=script + " print(time.monotonic() - b)")
    assert min(map(float, took.split())) < 0.2


@only_on("debian-testing", "the program's own logic")
def test_restore_playbook(releases: Releases) -> None:
    host, name = releases.host, releases.well("backup")["backup"]
    rejected = host.play("restore", nous_vm_backup="yesterday")
    assert rejected.returncode != 0
    assert f'nous_vm_backup is "yesterday"; allowed on {host.container} is one of {name}' in " ".join(rejected.stdout.split())
    restored = host.play("restore", nous_vm_backup=name)
    assert restored.returncode == 0, restored.stdout[-3000:]
    assert f"with {name}" in restored.stdout
    releases.assert_sound(releases.first)


def kill_ansible(host: Host, at: Callable[[str], bool], **variables: object) -> str:
    """Begin to apply the site, and kill it at a task of the role; return which, or nothing if it ended. What it began on the host is left to itself."""
    command = ["ansible-playbook", "playbooks/site.yml", "--inventory", f"{host.container},", "--extra-vars", json.dumps(SITE | variables)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, start_new_session=True) as asked:
        assert asked.stdout
        for line in asked.stdout:
            if (found := re.match(r"TASK \[nous\.vm\.nous_service : (.+)\]", line)) and at(found[1]):
                os.killpg(asked.pid, signal.SIGKILL)
                return found[1]
    return ""


@only_on("debian-13", "three runs of playbooks")
def test_ansible_killed(releases: Releases) -> None:
    """At every task of the role, or at the one that matters most: clients see nothing of it, and the next run goes on where it was."""
    host, newer, killed = releases.host, str(releases.host.pack("1.9.0")), [""]
    with host.load() as load:
        while task := kill_ansible(host, lambda task: task not in killed and (FULL or task == "Deploy the release"), nous_service_archive=newer):
            killed.append(task)
            wait(lambda: not host.sh("systemctl list-units --no-legend 'nous-vm-deploy-*'") and not releases.status()["lock"], "what was begun to end")
        assert {"Run the build", "Write configuration, units and package", "Deploy the release"} <= {*killed} or (not FULL and len(killed) == 2), killed
        run = host.play(nous_service_archive=newer)
        assert run.returncode == 0, run.stdout[-3000:]
        load.settle()
        assert releases.assert_sound(*releases.status()["built"]) != releases.first
        back = host.play("rollback")
        assert back.returncode == 0, back.stdout[-3000:]
        releases.assert_sound(releases.first)
    print(f"killed at {len(killed) - 1} tasks")
    load.assert_record()
    assert load.failed == []
