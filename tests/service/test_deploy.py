"""Deployments on a host: candidates that fail, rollbacks, migrations, backups, and what the proxy does meanwhile."""

from __future__ import annotations

import json
import subprocess

import pytest
from controller import wait
from host import UNIT, only_full, only_on, rest
from loads import FULL
from releases import CURRENT, DATABASE, ENVIRONMENT, ROOT, Releases


@only_on("debian-13", "the program's own logic")
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


@only_on("debian-13", "the program's own logic")
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


@only_on("debian-13", "the program's own logic")
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
    assert host.through_the_proxy().startswith("HTTP/1.1 200")
    host.sh("tar --extract --directory=/ --file=/root/kept.tar")


def test_the_proxy_keeps_no_connection(releases: Releases) -> None:
    """One that was kept would lead past a pause."""
    assert releases.host.through_the_proxy().startswith("HTTP/1.1 200")


@only_on("debian-13", "the program's own logic")
def test_traffic_that_was_left_paused_is_resumed(releases: Releases) -> None:
    releases.admin("disable frontend nous")
    assert releases.host.check().get("traffic") == "fail", releases.host.sh("nous-vm check", check=False)
    assert releases.well("deploy", "current")["actions"] == ["resume"]
    assert releases.traffic_flows()
    assert releases.host.check()["traffic"] == "ok"


@only_on("debian-13", "the program's own logic")
def test_stopped_server_stays_stopped(releases: Releases) -> None:
    host = releases.host
    host.sh(f"systemctl stop {UNIT}")
    assert releases.well("restart")["changed"] is False
    assert host.show("ActiveState") == "inactive"
    host.sh(f"systemctl start {UNIT}")
    pid = host.show("MainPID")
    assert releases.well("restart")["changed"] is True
    assert host.show("MainPID") != pid


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
