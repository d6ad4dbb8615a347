"""The activation on a host: trials that fail, and the program killed, or the host switched off, before each of its acts.

Releases are copies of the one that serves, so that nothing is built here.
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
from host import FULL, HOST, OPERATOR, REPOSITORY, SITE, STRANGER, UNIT, VENDOR, Host, only_full, only_on, rest, wait

PROGRAM = "/usr/local/sbin/nous-vm-activate"
ROOT, DATABASE, ENVIRONMENT = "/opt/nous", "/var/lib/nous/state.db", "/etc/nous/nous.env"
WATCH = "/run/nous-vm-acts"
HERE = Path(__file__).parent
COPY = f"""
cd {ROOT}/releases; rm -rf "$2"; cp -al "$1" "$2"; cd "$2"
for file in $(grep -rlI "$1" --include=*.pth --include=pyvenv.cfg --include=direct_url.json venv) source/src/nous/release.py release.json; do
  sed "s|$1|$2|g" "$file" > .new; mv .new "$file"
done
printf 'VERSION = "%s"\\nFAULT = "%s"\\n' "$2" "$3" > source/src/nous/release.py
rm -rf source/src/nous/__pycache__/release.* bad.json
"""


class Done(NamedTuple):
    """What the program ended with, and said."""

    rc: int
    said: dict[str, Any]
    stderr: str


class Releases:
    """A host with the release that it came with, and copies of it."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.first = self.status()["current"]
        self.short = max(8.0, 5 * host.start_takes)  # seconds for a release that is never ready, and for the one before to start

    def run(self, *arguments: str) -> Done:
        command = ["docker", "exec", self.host.container, PROGRAM, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return Done(done.returncode, json.loads(done.stdout or "{}"), done.stderr)

    def well(self, *arguments: str) -> dict[str, Any]:
        done = self.run(*arguments)
        assert done.rc == 0, done
        return done.said

    def status(self) -> dict[str, Any]:
        return self.run("status").said

    def copy(self, name: str, fault: str = "none") -> str:
        self.host.sh(f"set -- {self.first} {name} {fault}; {COPY}")
        return name

    def configure(self, **settings: Any) -> None:
        script = f"import json; p = '/etc/nous-vm/activate.json'; c = json.load(open(p)); c.update({settings!r}); json.dump(c, open(p, 'w'))"
        self.host.sh("python3 -", stdin=script)

    def door(self, command: str) -> str:
        script = (
            "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/nous-door-admin/haproxy.sock');"
            f"s.sendall({command.encode()!r} + b'\\n'); print(b''.join(iter(lambda: s.recv(65536), b'')).decode())"
        )
        return self.host.sh("python3 -", stdin=script)

    def door_is_open(self) -> bool:
        """Tell whether the door takes connections; held, its limit is none."""
        return self.door("show stat door 1 -1").splitlines()[1].split(",")[6] == "1000"

    def assert_whole(self, *may: str) -> str:
        """One of the releases that may serve does, nothing is left half-done, clients get in; return which."""
        wait(self.host.answers, "an answer")
        status = self.status()
        assert status["current"] in may
        assert (status["unfinished"], status["at_work"], status["reason"]) == (None, None, None)
        assert self.door_is_open()
        assert self.host.sh(f"readlink -f {ROOT}/current/source/src/nous/release.py") == f"{ROOT}/releases/{status['current']}/source/src/nous/release.py"
        return str(status["current"])


@pytest.fixture
def releases(host: Host, monkeypatch: pytest.MonkeyPatch) -> Iterator[Releases]:
    monkeypatch.setattr("host.RATE", 50)  # requests are sent to be lost; how many the door stands is shown elsewhere
    host.sh("cp -a /etc/nous-vm/activate.json /root/activate.json")
    made = Releases(host)
    made.configure(keep=20)
    yield made
    host.sh(f"rm -rf {WATCH}; systemctl unset-environment PYTHONPATH; cp -a /root/activate.json /etc/nous-vm/activate.json")
    made.well("serve", made.first, "--again")
    host.sh(f"cd {ROOT}/releases; for each in *; do [ $each = {made.first} ] || rm -rf $each; done; rm -rf {ROOT}/backups/*")


@pytest.fixture
def watched(releases: Releases) -> Iterator[Releases]:
    """The same, with acts.py watching the program in its units."""
    watch(releases.host)
    yield releases


def watch(host: Host) -> None:
    host.put(f"{WATCH}/sitecustomize.py", (HERE / "acts.py").read_text(encoding="utf-8"))
    host.sh(f"systemctl set-environment PYTHONPATH={WATCH}")


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
    """Let the program serve another release undisturbed; return what it did. While it waits for the server it does the same again and again: once is enough."""
    releases = Releases(host)
    other = releases.copy("other")
    watch(host)
    plan(host, "serve", "log", Act("-", 0, ""))
    releases.well("serve", other)
    found = done(host)
    assert {act.step for act in found} == {"before", "hold", "stop", "trial", "accepted", "after"}
    host.sh(f"rm -rf {WATCH}; systemctl unset-environment PYTHONPATH")
    releases.well("serve", releases.first)
    return [act for index, act in enumerate(found) if act.step != "trial" or act.what not in {each.what for each in found[:index]}]


def command_in(acts: list[Act], step: str, word: str) -> Act:
    """Return the first act of a step that runs a command with a word in it."""
    return next(act for act in acts if act.step == step and "Popen" in act.what and word in act.what)


def chosen(acts: list[Act]) -> list[Act]:
    """Return where to kill: everywhere, or in the short form once in each step that leaves something to be made whole."""
    if FULL:
        return acts
    first = {step: next(act for act in acts if act.step == step) for step in ("hold", "stop", "accepted")}
    return [first["hold"], first["stop"], command_in(acts, "stop", "copy-out"), command_in(acts, "trial", "'start'"), first["accepted"]]


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
    host, serves, other = watched.host, watched.first, watched.copy("other")
    points = chosen(acts)
    with host.load() as load:
        for point in points:
            plan(host, "serve", "kill", point)
            ended = watched.run("serve", other)
            assert ended.rc == 1 or point.step in ("accepted", "after"), (point, ended)  # then it serves, and recover says so
            now = watched.assert_whole(serves, other)
            assert now == (other if point.step in ("accepted", "after") else serves), point
            serves, other = now, {serves, other}.difference({now}).pop()
    print(f"killed before {len(points)} acts, {Counter(point.step for point in points)}")
    print(load)
    load.assert_record()
    assert load.failed == []


@contextlib.contextmanager
def stopped_at(releases: Releases, point: Act, release: str, by: str = "root") -> Iterator[None]:
    """Let the activation come to an act, and stop there. It must be ended, or go on, within."""
    plan(releases.host, "serve", "stop", point)
    command = ["docker", "exec", f"--env=SUDO_USER={by}", releases.host.container, PROGRAM, "serve", release]
    asked = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait(lambda: [act for act in done(releases.host) if act[:2] == point[:2]], f"{point}")
    yield
    asked.wait()


def test_recovery_killed_too(watched: Releases, acts: list[Act]) -> None:
    """Whatever kills the recovery: systemd starts another, which ends it."""
    host, other = watched.host, watched.copy("other")
    for number in itertools.count() if FULL else [9]:
        with stopped_at(watched, command_in(acts, "trial", "'start'"), other):
            plan(host, "recover", "kill", Act("trial", number, ""))
            host.sh("kill -KILL $(systemctl show --value --property=MainPID 'nous-vm-activate-*')")
        wait(lambda: not host.sh(f"ls {ROOT}/activation.json || true"), "another recovery")
        watched.assert_whole(watched.first)
        if not [act for act in done(host) if act[:2] == ("trial", number)]:
            break
    assert number >= 9


@only_on("debian-13", "the next test switches it off too")
def test_host_switched_off_before_each_act(watched: Releases, acts: list[Act]) -> None:
    """The boot makes it whole before the server starts. (In the short form once it was accepted; the next test does it during the trial.)"""
    host, other = watched.host, watched.copy("other")
    for point in acts if FULL else [next(act for act in acts if act.step == "accepted")]:
        with host.load() as load:
            pass
        with stopped_at(watched, point, other):
            power_cycle(host)
        now = watched.assert_whole(watched.first, other)
        assert now == (other if point.step in ("accepted", "after") else watched.first), point
        calls = {call for (call,) in host.query(f"SELECT call_id FROM executed WHERE call_id LIKE '{load.run}-%'")}
        assert {f"{load.run}-{number}" for number in load.executed} <= calls, point
        watch(host)
        watched.well("serve", watched.first, "--again")


def journal_of_recovery(host: Host) -> str:
    return host.sh("journalctl --boot --quiet --output=cat --unit=nous-recover.service")


@only_on("debian-testing", "the other platform is switched off in the test before")
def test_boot_that_cannot_go_back(watched: Releases, acts: list[Act]) -> None:
    """The server does not start before it was gone back, nor for who asks for it; once that can be done, it is, and the server comes."""
    host, other = watched.host, watched.copy("other")
    count = host.query("SELECT count(*) FROM executed")
    with stopped_at(watched, command_in(acts, "trial", "'start'"), other):
        name = json.loads(host.sh(f"cat {ROOT}/activation.json"))["backup"]
        host.sh(f"mv {ROOT}/backups/{name} {ROOT}/backups/.lost")
        power_cycle(host)
    wait(lambda: name in journal_of_recovery(host), "the recovery to fail")
    asked = host.sh(f"systemctl start {UNIT} 2>&1", check=False)
    assert (host.show("ActiveState"), host.show("ExecMainStartTimestampMonotonic")) == ("inactive", "0"), "what was on trial was started"
    assert "dependency" in asked.lower(), asked
    assert (watched.status()["current"], watched.status()["unfinished"]) == (other, "trial")
    assert host.check()["activation"] == "fail"
    host.sh(f"mv {ROOT}/backups/.lost {ROOT}/backups/{name}")
    watched.assert_whole(watched.first)
    assert host.query("SELECT count(*) FROM executed") == count
    assert host.check()["activation"] == "ok"


def test_journal_that_cannot_be_read(releases: Releases) -> None:
    """A server that runs is left alone, nothing else is begun, and the next start waits for a person."""
    host, pid = releases.host, releases.host.show("MainPID")
    host.put(f"{ROOT}/activation.json", "")
    assert "activation.json cannot be read" in releases.run("restart").said["reason"]
    host.sh("systemctl start nous-recover.service")
    assert (host.show("MainPID"), releases.status()["unfinished"], host.check()["activation"]) == (pid, "unreadable", "fail")
    assert "dependency" in host.sh(f"systemctl restart {UNIT} 2>&1", check=False).lower()
    assert host.show("ActiveState") == "inactive"
    host.sh(f"rm {ROOT}/activation.json; systemctl start {UNIT}")
    releases.assert_whole(releases.first)


@only_full("a kill does the same")
def test_ended_by_systemd(watched: Releases) -> None:
    host, other = watched.host, watched.copy("other", "hang")
    asked = subprocess.Popen(["docker", "exec", host.container, PROGRAM, "serve", other], stdout=subprocess.PIPE, text=True)
    wait(lambda: watched.status()["unfinished"] == "trial" and host.show("SubState") == "running", "the trial")
    host.sh("systemctl stop 'nous-vm-activate-*'")
    said = json.loads(asked.communicate()[0])
    assert (asked.returncode, said["reason"], said["back"]) == (1, "it was cut short at the step trial", f"{watched.first} serves again")
    watched.assert_whole(watched.first)
    assert watched.status()["bad"] == {}


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("crash", "crashes"),
        *rest(("hang", "does not answer"), ("error", "answers 500")),  # molecule/nous_service has the second
    ],
)
def test_bad_release(releases: Releases, fault: str, why: str) -> None:
    """Nobody's request fails; it is not tried again until asked."""
    host, bad = releases.host, releases.copy("bad", fault)
    releases.configure(timeout=60 if fault == "crash" else releases.short)
    with host.load() as load:
        tried = releases.run("serve", bad)
        assert tried.rc == 1
        assert why in tried.said["reason"]
        assert tried.said["back"] == f"{releases.first} serves again"
        assert tried.said["journal"]
        load.settle()  # what waited is served: a server that does not answer in time is started anew
        pid = host.show("MainPID")
        for _ in range(2):
            refused = releases.run("serve", bad)
            assert refused.rc == 1
            assert f"with these settings, {tried.said['reason']}" in refused.said["reason"]
        assert host.show("MainPID") == pid, "what was refused stopped the server"
        assert releases.assert_whole(releases.first)
        assert list(releases.status()["bad"]) == [bad]
        assert host.sh(f"stat -c %a {ROOT}/releases/{bad}/bad.json") == "600", "it has lines of the journal"
    load.assert_nothing_failed()
    if fault != "crash" and not FULL:
        return
    # Mended, it is taken, and no longer known as bad.
    releases.configure(timeout=60)
    releases.host.sh(f"sed -i s/{fault}/none/ {ROOT}/releases/{bad}/source/src/nous/release.py")
    releases.well("serve", bad, "--again")
    assert releases.status()["bad"] == {}


WAITING = """
import json, socket, sys
body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "note", "arguments": {"text": "x", "call_id": "waiting"}}})
head = ["POST / HTTP/1.1", "Host: nous.example.org", f"Authorization: Bearer {sys.argv[1]}", "Accept: application/json, text/event-stream"]
head += ["Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close"]
with socket.socket(socket.AF_UNIX) as door:
    door.connect("/run/nous-door/mcp.sock")
    door.sendall(("\\r\\n".join(head) + "\\r\\n\\r\\n" + body).encode())
    print(json.dumps(b"".join(iter(lambda: door.recv(65536), b"")).decode()))
"""


@only_full("waits for a trial to run out")
def test_what_waits_for_a_dead_server_does_not_reach_the_one_on_trial(releases: Releases) -> None:
    """The release on trial might answer it, and the way back would lose what it wrote."""
    host, bad = releases.host, releases.copy("bad", "error")
    releases.configure(timeout=releases.short)
    host.sh(f"systemctl stop {UNIT}")
    command = ["docker", "exec", host.container, "python3", "-c", WAITING, host.token]
    waiting = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    wait(lambda: int(releases.door("show stat requests 2 -1").splitlines()[1].split(",")[4]), "the request to wait")
    failed = releases.run("serve", bad)
    assert failed.said["back"] == f"{releases.first} serves again"
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
            releases.well("serve", releases.copy(name))
        assert releases.well("rollback")["release"] == "second"
        assert "it was rolled back" in releases.run("serve", "third").said["reason"]
        assert releases.well("rollback")["release"] == releases.first
    load.assert_nothing_failed()
    assert releases.run("rollback").rc == 2
    unknown = releases.run("rollback", "fourth")
    assert (unknown.rc, f"built: {releases.first}, second, third" in unknown.stderr) == (2, True)
    assert releases.well("rollback", "third")["release"] == "third"
    assert list(releases.status()["bad"]) == sorted([releases.first, "second"])


@pytest.mark.parametrize("break_it", ["sed -i '/python/s/: .*/: \"3.1.0\",/' release.json", "rm venv/bin/python"], ids=["another", "gone"])
def test_release_of_another_python(releases: Releases, break_it: str) -> None:
    """It is refused in one sentence before anything is touched."""
    host, other = releases.host, releases.copy("other")
    host.sh(f"cd {ROOT}/releases/other; {break_it}")
    pid = host.show("MainPID")
    refused = releases.run("rollback", other)
    assert refused.rc == 2
    assert "other cannot run: it was built for Python 3." in refused.stderr
    assert refused.stderr.count("\n") == 1
    refused = releases.run("serve", other)
    assert (refused.rc, "other cannot run" in refused.said["says"]) == (1, True)
    assert host.show("MainPID") == pid
    assert releases.assert_whole(releases.first)


@only_full("six more activations; molecule/nous_service has one")
def test_bad_settings(releases: Releases) -> None:
    host = releases.host
    good = host.sh(f"cat {ENVIRONMENT}")
    host.sh(f"echo 'NOUS_TICK_HZ=\"never\"' >> {ENVIRONMENT}")
    tried = releases.run("serve", releases.first)
    assert (tried.rc, tried.said["reason"]) == (1, f"{UNIT} crashes")
    assert any("NOUS_TICK_HZ" in line for line in tried.said["journal"])
    assert host.sh(f"cat {ENVIRONMENT}") == good
    assert releases.well("serve", releases.first)["changed"] is False
    pid = host.show("MainPID")
    host.sh(f"echo 'NOUS_TICK_HZ=\"never\"' >> {ENVIRONMENT}")
    assert releases.run("serve", releases.first).rc == 1
    assert host.sh(f"cat {ENVIRONMENT}") == good
    assert host.show("MainPID") == pid
    # A server that is away, with settings that are known to be bad, is brought back with those before.
    host.sh(f"systemctl stop {UNIT}; echo 'NOUS_TICK_HZ=\"never\"' >> {ENVIRONMENT}")
    assert releases.run("serve", releases.first).said["back"] == f"{releases.first} serves again"
    releases.assert_whole(releases.first)
    # Others are tried, and taken.
    host.sh(f"sed -i 's/^NOUS_TICK_HZ=.*//' {ENVIRONMENT}; echo 'NOUS_TICK_HZ=\"3\"' >> {ENVIRONMENT}")
    assert releases.well("serve", releases.first)["actions"] == ["start"]
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
    releases.configure(migrate=["venv/bin/migrate", "3"])
    failed = releases.run("serve", other)
    assert failed.rc == 1
    assert failed.said["reason"] == "its migration (venv/bin/migrate 3) failed: half-way"
    assert failed.said["back"] == f"{releases.first} serves again"
    columns = "SELECT name FROM pragma_table_info('executed')"
    assert ["extra"] not in host.query(columns)
    assert len(host.query("SELECT * FROM executed")) >= rows
    releases.assert_whole(releases.first)
    releases.configure(migrate=["venv/bin/migrate", "0"])
    releases.well("serve", other, "--again")
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


@only_full("four more activations")
def test_a_backup_that_was_asked_for_outlives_those_made_by_the_way(releases: Releases) -> None:
    name = releases.well("backup")["backup"]
    releases.configure(keep=2)
    for _ in range(2):
        releases.well("serve", releases.copy("other"))
        releases.well("rollback")
    assert name in releases.status()["backups"]
    assert len(releases.status()["backups"]) == 3


def test_second_operator(watched: Releases, acts: list[Act]) -> None:
    """Whoever comes while another is at work is told who that is, and nothing is done."""
    host, other = watched.host, watched.copy("other")
    with stopped_at(watched, command_in(acts, "trial", "'start'"), other, by="ada"):
        for command in (["serve", watched.first], ["rollback"], ["restart"], ["backup"]):
            told = watched.run(*command)
            assert told.rc == 4 and f"ada, serve {other}, since" in told.stderr, told
        told = host.play("rollback")
        assert told.returncode == 2 and f"somebody else is at work: ada, serve {other}, since" in " ".join(told.stdout.split()), told
        host.sh("kill -CONT $(systemctl show --value --property=MainPID 'nous-vm-activate-*')")
    watched.assert_whole(other)


@contextlib.contextmanager
def mounted_over_backups(host: Host, mount: str) -> Iterator[None]:
    """Have something else in the place of the folder of backups."""
    host.sh(f"cd {ROOT}/backups; {mount}")
    try:
        yield
    finally:
        host.sh(f"umount {ROOT}/backups")


def test_no_room_for_a_copy(releases: Releases) -> None:
    """Refused before the door is held."""
    host, other = releases.host, releases.copy("other")
    pid = host.show("MainPID")
    with mounted_over_backups(host, "mount -t tmpfs -o size=1m,mode=700 tmpfs ."):
        refused = releases.run("serve", other)
    assert refused.rc == 1
    assert "/backups has 1 MiB free, and a copy of" in refused.said["reason"] or "/backups has 0 MiB free" in refused.said["reason"]
    assert host.show("MainPID") == pid
    assert releases.status()["unfinished"] is None


@only_on("debian-13", "the program's own logic")
@pytest.mark.parametrize(
    "break_it",
    ["mount --bind . . && mount -o remount,bind,ro .", *rest("mount -t tmpfs -o size=1m,mode=700 tmpfs .")],
    ids=["read-only", "no room"],
)
def test_settings_that_were_not_tried_do_not_stay(releases: Releases, break_it: str) -> None:
    """An activation that comes to nothing before its trial leaves the settings that were accepted, for the next start too."""
    host, other = releases.host, releases.copy("other")
    good = host.sh(f"cat {ENVIRONMENT}")
    host.sh(f"echo 'NOUS_TICK_HZ=\"never\"' >> {ENVIRONMENT}")
    with mounted_over_backups(host, break_it):
        refused = releases.run("serve", other)
    assert refused.rc == 1
    assert host.sh(f"cat {ENVIRONMENT}") == good
    host.sh(f"systemctl restart {UNIT}")
    releases.assert_whole(releases.first)


@only_on("debian-testing", "the program's own logic")
def test_settings_that_come_during_a_trial_are_not_accepted(watched: Releases, acts: list[Act]) -> None:
    """Somebody else's run lays them down beside it; the server may have been started with them or not. That run is told that somebody is at work."""
    host, other = watched.host, watched.copy("other")
    good = host.sh(f"cat {ENVIRONMENT}")
    with stopped_at(watched, command_in(acts, "trial", "'start'"), other):
        host.sh(f"echo 'NOUS_TICK_HZ=\"never\"' >> {ENVIRONMENT}")
        host.sh("kill -CONT $(systemctl show --value --property=MainPID 'nous-vm-activate-*')")
    watched.assert_whole(watched.first)
    assert host.sh(f"cat {ENVIRONMENT}") == good
    assert other not in watched.status()["bad"]
    watched.well("serve", other)


@only_on("debian-13", "the program's own logic")
def test_the_way_back_leads_to_the_address_before(releases: Releases) -> None:
    host = releases.host
    before, door = host.sh("cat /etc/nous-vm/activate.json"), host.sh("cat /etc/nous-vm/door.cfg")
    host.sh("sed -i s/8088/8099/ /etc/nous-vm/door.cfg")
    host.sh(f"sed -i 's/8088/8099/; s/^NOUS_TICK_HZ=.*//' {ENVIRONMENT}; echo 'NOUS_TICK_HZ=\"never\"' >> {ENVIRONMENT}")
    releases.configure(address="127.0.0.1:8099")
    assert releases.run("serve", "current").said["back"] == f"{releases.first} serves again"
    assert json.loads(host.sh("cat /etc/nous-vm/activate.json")) == json.loads(before)
    assert host.sh("cat /etc/nous-vm/door.cfg") == door
    releases.assert_whole(releases.first)
    assert through_the_door(host).startswith("HTTP/1.1 200")


def through_the_door(host: Host) -> str:
    """Return all that comes on a connection of one request, until the door closes it."""
    script = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.settimeout(9); s.connect('/run/nous-door/mcp.sock');"
        f"s.sendall(b'GET /.well-known/oauth-protected-resource HTTP/1.1\\r\\nHost: {HOST}\\r\\n\\r\\n');"
        "print(b''.join(iter(lambda: s.recv(65536), b'')).decode())"
    )
    return host.sh("python3 -", stdin=script)


def test_the_door_keeps_no_connection(releases: Releases) -> None:
    """One that a proxy kept would lead past a door that is held."""
    assert through_the_door(releases.host).startswith("HTTP/1.1 200")


@only_on("debian-testing", "the program's own logic")
def test_what_a_copy_left_takes_no_room(releases: Releases) -> None:
    host, other = releases.host, releases.copy("other")
    with mounted_over_backups(host, "mount -t tmpfs -o size=64m,mode=700 tmpfs ."):
        host.sh(f"cd {ROOT}/backups; mkdir .left.partial; fallocate -l 60M .left.partial/database")
        releases.well("serve", other)
    releases.assert_whole(other)


@only_on("debian-testing", "the program's own logic")
def test_a_release_that_is_being_built_is_not_removed(releases: Releases) -> None:
    """Nor does anything else that lies there make a failure of what went well."""
    host, other = releases.host, releases.copy("other")
    host.sh(f"cd {ROOT}/releases; touch stray; mkdir half; systemd-run --quiet --unit=nous-vm-build-test flock {ROOT}/releases sleep infinity")
    host.sh(f"until ! flock --nonblock {ROOT}/releases true; do sleep 0.05; done")
    releases.well("serve", other)
    assert "half" in host.sh(f"ls {ROOT}/releases").split()
    host.sh(f"systemctl stop nous-vm-build-test; flock {ROOT}/releases true")
    releases.well("serve", releases.first)
    assert {"half", "stray"} & {*host.sh(f"ls {ROOT}/releases").split()} == {"stray"}


@only_on("debian-13", "the program's own logic")
def test_a_door_that_was_left_held_is_opened(releases: Releases) -> None:
    releases.door("set maxconn frontend door 0")
    assert releases.host.check().get("door open") == "fail", releases.host.sh("nous-vm-check", check=False)
    assert releases.well("serve", "current")["actions"] == ["open"]
    assert releases.door_is_open()
    assert releases.host.check()["door open"] == "ok"


@only_full("rare")
def test_release_removed_by_hand(releases: Releases) -> None:
    """The way back is to another that served, and a link to nowhere is mended."""
    host, other, bad = releases.host, releases.copy("other"), releases.copy("bad", "crash")
    releases.well("serve", other)
    host.sh(f"rm -rf {ROOT}/releases/{other}")
    assert releases.status()["current"] == other
    failed = releases.run("serve", bad)
    assert failed.said["back"] == f"{releases.first} serves again"
    releases.assert_whole(releases.first)


def test_stopped_server_stays_stopped(releases: Releases) -> None:
    host = releases.host
    host.sh(f"systemctl stop {UNIT}")
    assert releases.well("restart")["changed"] is False
    assert host.show("ActiveState") == "inactive"
    host.sh(f"systemctl start {UNIT}")
    pid = host.show("MainPID")
    assert releases.well("restart")["changed"] is True
    assert host.show("MainPID") != pid


@only_full("waits for a trial to run out")
def test_crash_of_the_door_during_a_trial(releases: Releases) -> None:
    """It comes back open, and is held again before the release on trial answers."""
    host, other = releases.host, releases.copy("other", "hang")
    releases.configure(timeout=releases.short)
    asked = subprocess.Popen(["docker", "exec", host.container, PROGRAM, "serve", other], stdout=subprocess.DEVNULL)
    wait(lambda: releases.status()["unfinished"] == "trial" and host.show("SubState") == "running", "the trial")
    host.sh("systemctl kill --signal=KILL nous-door.service")
    wait(lambda: host.show("ActiveState", "nous-door.service") == "active", "the door")
    with contextlib.suppress(AssertionError):
        wait(lambda: not releases.door_is_open(), "the door to be held", 1)
    held = not releases.door_is_open()
    asked.wait()
    assert held
    releases.assert_whole(releases.first)


def test_drain_and_open_are_quick(releases: Releases) -> None:
    """They are part of every stop of the server."""
    script = "import subprocess, time\nfor _ in range(9):\n b = time.monotonic(); subprocess.run(['/usr/local/sbin/nous-vm-activate', 'open'], check=True)\n"
    took = releases.host.sh("python3 -", stdin=script + " print(time.monotonic() - b)")
    assert min(map(float, took.split())) < 0.2


@only_on("debian-testing", "the program's own logic")
def test_restore_playbook(releases: Releases) -> None:
    host, name = releases.host, releases.well("backup")["backup"]
    refused = host.play("restore", nous_vm_backup="yesterday")
    assert refused.returncode != 0
    assert f'nous_vm_backup is "yesterday"; allowed on {host.container} is one of {name}' in " ".join(refused.stdout.split())
    restored = host.play("restore", nous_vm_backup=name)
    assert restored.returncode == 0, restored.stdout[-3000:]
    assert f"serves with {name}" in restored.stdout
    releases.assert_whole(releases.first)


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
        while task := kill_ansible(host, lambda task: task not in killed and (FULL or task == "Serve the release"), nous_service_archive=newer):
            killed.append(task)
            wait(lambda: not host.sh("systemctl list-units --no-legend 'nous-vm-activate-*'") and not releases.status()["at_work"], "what was begun to end")
        assert {"Build it", "Lay down environment, units and programs", "Serve the release"} <= {*killed} or not FULL and len(killed) == 2, killed
        run = host.play(nous_service_archive=newer)
        assert run.returncode == 0, run.stdout[-3000:]
        load.settle()
        assert releases.assert_whole(*releases.status()["built"]) != releases.first
        back = host.play("rollback")
        assert back.returncode == 0, back.stdout[-3000:]
        releases.assert_whole(releases.first)
    print(f"killed at {len(killed) - 1} tasks")
    load.assert_record()
    assert load.failed == []
