"""Deployments that are interrupted: the program killed, or the host switched off, before each of its acts, or another operator beside it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
from collections import Counter

import pytest
from controller import REPOSITORY, wait
from host import UNIT, Host, only_full, only_on
from loads import FULL
from releases import CURRENT, ENVIRONMENT, PROGRAM, ROOT, WATCH, Act, Releases, command_in, done, plan, stopped_at, unwatch, watch
from wire import OPERATOR, STRANGER, VENDOR


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


def kinds(acts: list[Act]) -> list[Act]:
    """Return of each step one act of a kind: a command by its verb, a file that is written, renamed or removed. (All acts: the unit tests.)"""
    found: dict[tuple[str, str], Act] = {}
    for act in acts:
        found.setdefault((act.step, act.what.split(" ")[0] if "Popen" not in act.what else " ".join(act.what.split(" ")[:3])), act)
    return list(found.values())


def chosen(acts: list[Act]) -> list[Act]:
    """Return where to kill: before one act of a kind, or in the short form once in each step that leaves something to recover."""
    if FULL:
        return kinds(acts)
    first = {step: next(act for act in acts if act.step == step) for step in ("pause", "stop", "known-good")}
    return [first["pause"], first["stop"], command_in(acts, "stop", "deploy.copies"), command_in(acts, "candidate", "'start'"), first["known-good"]]


def power_cycle(host: Host) -> None:
    """Switch the host off as a power cut does, and on again."""
    subprocess.run(["docker", "kill", host.container], check=True, capture_output=True)
    subprocess.run(["docker", "start", host.container], check=True, capture_output=True)
    host.__dict__.pop("network", None)
    host.sh("until systemctl is-system-running --wait 2>&1 | grep -Eqx 'running|degraded'; do sleep 0.1; done")
    for address in (VENDOR, OPERATOR, STRANGER):
        host.sh(f"ip address replace {address}/32 dev lo")


@only_on("debian-13", "the program's own logic")
def test_killed_before_each_act(watched: Releases, acts: list[Act]) -> None:
    """With a load on it, each time for a release that has no generation yet: what was acknowledged is there, nothing ran twice, and no request failed."""
    host, current, points = watched.host, watched.first, chosen(acts)
    with host.load() as load:
        for number, point in enumerate(points):
            other = watched.copy(f"other-{number}")
            plan(host, "deploy", "kill", point)
            ended = watched.run("deploy", other)
            assert ended.rc == 1 or point.step in ("known-good", "after"), (point, ended)  # then it is deployed, and recover tells
            now = watched.assert_sound(current, other)
            assert now == (other if point.step in ("known-good", "after") else current), point
            current = now
    print(f"killed before {len(points)} acts, {Counter(point.step for point in points)}")
    print(load)
    load.assert_record()
    assert load.failed == []


@only_on("debian-13", "the program's own logic")
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
    points = [act for act in kinds(acts) if "Popen" in act.what] if FULL else [next(act for act in acts if act.step == "known-good")]
    print(f"switched off before {len(points)} of {len(acts)} acts, one for each kind of command of a step")
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


@only_on("debian-13", "the program's own logic")
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
    assert watched.status()["failed"][other] == "it was stopped, at the step candidate"


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
    host.sh("systemctl restart nous-proxy.service")  # of one that was killed the check warns
    assert paused
    releases.assert_sound(releases.first)


@only_on("debian-13", "the program's own logic")
def test_second_operator(watched: Releases, acts: list[Act]) -> None:
    """Whoever comes while another is at work is told who that is, and nothing is done."""
    host, other = watched.host, watched.copy("other")
    with stopped_at(watched, command_in(acts, "candidate", "'start'"), other, by="ada"):
        for command in (["deploy", watched.first], ["rollback"], ["restart"], ["backup"]):
            told = watched.run(*command)
            assert told.rc == 4 and f"ada, deploy {other}, since" in told.stderr, told
        run = host.play("rollback") if FULL else None
        assert run is None or (run.returncode == 2 and f"the deployment lock is held by ada, deploy {other}, since" in " ".join(run.stdout.split())), run
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


# The second of that name: the first includes it.
TASKS = {"Run the build": 1, "Write configuration, units and package": 1, "Deploy the release": 2}


def kill_ansible(host: Host, task: str, number: int, **variables: object) -> None:
    """Begin to apply the site, and kill it at a task of the role, the how many-th of its name. What it began on the host is left to itself."""
    command = host.command(**variables)
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, start_new_session=True) as asked:
        assert asked.stdout
        for line in asked.stdout:
            number -= line.startswith(f"TASK [nous.vm.nous_service : {task}]")
            if number == 0:
                os.killpg(asked.pid, signal.SIGKILL)
                return
    pytest.fail(f"it came to its end without {task}")


@only_on("debian-13", "the program's own logic")
def test_who_asked_is_killed(watched: Releases, acts: list[Act]) -> None:
    """Ansible, a connection, a person's shell: what was asked for ends without them."""
    host, other, step = watched.host, watched.copy("other"), command_in(acts, "candidate", "'start'")
    plan(host, "deploy", "stop", step)
    asked = subprocess.Popen(["docker", "exec", host.container, "sh", "-c", f"echo $$ > {WATCH}/asked; exec {PROGRAM} deploy {other}"])
    wait(lambda: [act for act in done(host) if act[:2] == step[:2]], f"{step}")
    host.sh(f"kill -KILL $(cat {WATCH}/asked)")
    assert asked.wait() == 137
    host.sh("kill -CONT $(systemctl show --value --property=MainPID 'nous-vm-deploy-*')")
    wait(lambda: not watched.status()["lock"], "what was asked for to end")
    watched.assert_sound(other)


@only_full("a run of the site for each task; the test before has what it is about")
def test_ansible_killed(releases: Releases) -> None:
    """At the tasks that change most: clients see nothing of it, and the next run goes on where it was."""
    host, newer = releases.host, str(releases.host.pack("1.9.0"))
    with host.load() as load:
        for task, number in TASKS.items():
            kill_ansible(host, task, number, nous_service_archive=newer)
            wait(lambda: not host.sh("systemctl list-units --no-legend 'nous-vm-deploy-*'") and not releases.status()["lock"], "what was begun to end")
        run = host.play(nous_service_archive=newer)
        assert run.returncode == 0, run.stdout[-3000:]
        load.settle()
        assert releases.assert_sound(*releases.status()["built"]) != releases.first
        back = host.play("rollback")
        assert back.returncode == 0, back.stdout[-3000:]
        releases.assert_sound(releases.first)
    load.assert_record()
    assert load.failed == []
