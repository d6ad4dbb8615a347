"""The stand-in for nous, as its role runs it, under the load of MCP clients: every record that it reported as written is there, in one chain.

It is as weak as the real one: what it cannot write it swallows, and answers on. The guard is what keeps that from happening.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from conftest import only_full, only_on

Host = Any
NONE: list[str] = []
LOG, ANCHORS = "/var/log/nous/audit.jsonl", "/var/log/nous/audit-anchors.jsonl"
PYTHON, TOOLS = "/opt/nous/current/venv/bin/python", "/usr/local/lib/rotation-test"
REPORTED = "/run/rotation-test/reported"
LOAD = "rotation-load"
KEPT = "/run/rotation-test/kept"
# Keeps what is in the archives before they expire, each by the time of its first record; then chain.walk follows every link, oldest record first, and raises
# where one does not lead on: lost, torn, doubled or changed.
LOOK = f"""
import gzip, json, pathlib, sys
import chain
log, reported, kept = pathlib.Path("{LOG}"), pathlib.Path("{REPORTED}-note").read_text().split(), pathlib.Path("{KEPT}")
kept.mkdir(exist_ok=True)
archives = chain.files(log)[:-1]
for path in archives:
    content = path.read_bytes()
    content = gzip.decompress(content) if path.suffix == ".gz" else content
    (kept / json.loads(content.split(b"\\n", 1)[0])["ts"]).write_bytes(content)
files = [*sorted(kept.iterdir()), log]
if sys.argv[1:]:
    sys.exit()  # the log is being written
first = json.loads(files[0].read_bytes().split(b"\\n", 1)[0])
there = {{record["entry_hash"] for record in chain.walk(files, first["prev_hash"])}}
missing = [one for one in reported if one not in there]
print(json.dumps({{"archives": len(archives), "segments": len(files) - 1, "records": len(there), "reported": len(reported), "missing": missing}}))
"""
# A new day twice a second.
DAYS = (
    'day=0; while :; do day=$((day + 1)); date --date="2027-01-01 + $day days" +%F > /var/lib/nous/day.new'
    "; mv /var/lib/nous/day.new /var/lib/nous/day; sleep 0.5; done"
)
# Waits for what the local proxy answers to somebody without a token: 401 of the server, or 503 of itself.
PROBE = """
import http.client, socket, sys, time
until = time.monotonic() + float(sys.argv[2])
class Local(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(5)
        self.sock.connect("/run/nous-proxy/mcp.sock")
while True:
    try:
        asked = Local("nous.example.org")
        asked.request("POST", "/", "{}")
        status = asked.getresponse().status
    except OSError:
        status = 0
    if str(status) == sys.argv[1]:
        break
    if time.monotonic() > until:
        sys.exit(f"{status} instead of {sys.argv[1]}")
    time.sleep(0.02)
"""
TRAIL = "/var/log/nous-vm/trail.jsonl"
NOUS = {"name": "nous", "writer": "nous.service"}


def load(server: Host, sessions: int = 4, tool: str = "note", size: int = 200) -> None:
    """Have clients call the server, and note each answer. size: of a note, in characters."""
    how = f"{PYTHON} {TOOLS}/load.py https://nous.example.org /run/nous-proxy/mcp.sock {sessions} {REPORTED}-{tool} {tool} {size}"
    server.sh(f"rm -rf {REPORTED}-{tool} {KEPT if tool == 'note' else ''}; systemd-run --quiet --collect --unit={LOAD}-{tool} {how}")


@only_on("debian-testing", "what systemd has a part in is in test_kills")
def test_the_server_under_load(server: Host, full: bool) -> None:
    """Rotated while clients call it; in between it is restarted, killed, and flushed.

    At any moment a day may begin, at whose first call the server walks through its archives and pins what it finds, and in every eighth rotation one begins at
    each step; and another client asks its verifier all the time. To neither of them a rotation is tampering; the guard sees nothing to reject; and of the
    archives no more stay than are to be kept.
    """
    server.sh(f"systemctl stop nous.service; chattr -a {ANCHORS}; : > {ANCHORS}; chattr +a {ANCHORS}; systemctl start nous.service")
    server.sh(f"systemd-run --quiet --collect --unit=rotation-days sh -c '{DAYS}'")
    server.sh("cp /var/log/nous-vm/trail.jsonl /run/rotation-test/trail")
    load(server)
    load(server, 1, "audit_anchor_verify")
    rounds, each = (15, 7) if full else (3, 1)
    for number in range(rounds):
        # More records each time, by clients that are still being answered.
        answered(server, 60)
        assert server.drive(rotations=each, pause=0.2, **NOUS)["wrong"] == NONE
        if full:
            done = server.drive(steps=[number], **NOUS)
            assert (done["wrong"], int(done["done"][0].split()[0]) > 20) == (NONE, True), done
        server.out("env", f"PYTHONPATH={TOOLS}", "python3", "-c", LOOK, "keep")
        how = ("restart nous.service", "kill --signal=SIGKILL nous.service", "start --no-block nous-state-flush.service")[number % 3]
        server.sh(f"systemctl {how}")
        server.sh("until systemctl is-active --quiet nous.service; do sleep 0.05; done")
    server.sh(f"systemctl stop {LOAD}-note {LOAD}-audit_anchor_verify rotation-days nous.service; rm /var/lib/nous/day")
    found = look(server)
    assert found["missing"] == [], found
    assert found["reported"] > 60 * rounds
    assert found["segments"] >= rounds * (each + full)
    assert found["archives"] == (40 if full else 2)
    verdicts = server.sh(f"cat {REPORTED}-audit_anchor_verify").splitlines()
    assert len(verdicts) > 5 * rounds
    assert [one for one in verdicts if not json.loads(one)["ok"]] == []
    anchors = [json.loads(line) for line in server.sh(f"cat {ANCHORS}").splitlines()]
    assert len(anchors) > rounds
    assert [one for one in anchors if not one["chain_ok"]] == []
    assert "audit guard" not in server.sh("tail -c +$(($(stat -c %s /run/rotation-test/trail) + 1)) /var/log/nous-vm/trail.jsonl")
    server.run("systemctl", "start", "nous.service")


def answered(server: Host, more: int) -> None:
    """Wait for so many more answers."""
    server.sh(f"touch {REPORTED}-note; had=$(wc -l < {REPORTED}-note); until [ $(wc -l < {REPORTED}-note) -gt $((had + {more})) ]; do sleep 0.1; done")


def look(server: Host) -> Any:
    """Walk the chain, and look for every record that was reported."""
    return json.loads(server.out("env", f"PYTHONPATH={TOOLS}", "python3", "-c", LOOK))


def wait_for(server: Host, code: str, seconds: float) -> None:
    """Wait until the local proxy answers that."""
    server.run("python3", "-c", PROBE, code, str(seconds))


def stop(server: Host) -> None:
    server.sh("systemctl stop rotation-load-note")


@only_on("debian-testing", "test_failing_days.py has the rotation's part")
def test_a_full_disk_costs_no_record(server: Host, full: bool) -> None:
    """Filled under load; what was under way goes into the room that was kept. Killed and started anew meanwhile, and back within 2 s of space."""
    load(server, size=20_000)
    answered(server, 20)
    for number in range(10 if full else 1):
        server.sh("for block in 64k 4k; do dd if=/dev/zero of=/var/log/nous/fill bs=$block oflag=append conv=notrunc 2>&1 || true; done")
        if number % 2:
            server.sh("systemctl kill --signal=SIGKILL nous.service; until systemctl is-active --quiet nous.service; do sleep 0.05; done")
        answered(server, 20)  # there is room
        wait_for(server, "503", 30)
        stop(server)
        assert look(server)["missing"] == []
        rows = {row["name"]: row for row in json.loads(server.run("nous-vm", "check", "--json", check=False).stdout)["rows"]}
        assert rows["answers are recorded (nous)"]["status"] == "fail"
        assert "No space left on device; traffic is rejected" in rows["answers are recorded (nous)"]["detail"]
        server.sh("rm /var/log/nous/fill")
        wait_for(server, "401", 2)
        load(server, size=20_000)
        answered(server, 20)
    stop(server)
    found = look(server)
    assert found["missing"] == []


@only_full("test_failing_days.py has the rotation's part")
def test_no_inode_left_costs_no_record(server: Host) -> None:
    """A record needs none, a server that is started anew neither: only the rotation fails, and all that was answered is there."""
    load(server)
    answered(server, 20)
    server.sh("mkdir /var/log/nous/many; cd /var/log/nous/many; seq 100000 | xargs touch 2>&1 | grep -q 'No space left on device'")
    for how in ("restart", "kill --signal=SIGKILL"):
        server.sh(f"systemctl {how} nous.service; until systemctl is-active --quiet nous.service; do sleep 0.05; done")
        answered(server, 20)
        assert server.run("systemctl", "start", "audit-logrotate-nous.service", check=False).returncode != 0
    server.sh("rm -r /var/log/nous/many")
    assert server.drive(rotations=1, **NOUS)["wrong"] == NONE
    stop(server)
    assert look(server)["missing"] == []


def unrecorded(server: Host) -> tuple[int, int]:
    """Wait until the guard has counted the answers that left without a record; return how many at most, and in how many milliseconds."""
    server.sh(f"timeout 30 sh -c 'until tail -n 5 {TRAIL} | grep -q \"answers without a record\"; do sleep 0.1; done'")
    told = [entry for entry in map(json.loads, server.out("tail", "-n5", TRAIL).splitlines()) if entry["event"] == "answers without a record"][-1]
    return int(told["result"].removeprefix("at most ")), told["milliseconds"]


@only_full("it writes to /sys of the machine that the hosts run on")
def test_an_error_of_the_file_system_costs_what_left_before_it_was_seen(server: Host) -> None:
    """ext4 makes itself read-only. Traffic is rejected, and flows again when the file system is back and the server was started anew."""
    server.sh("mount -o remount,errors=remount-ro /var/log/nous")
    device = server.out("findmnt", "--noheadings", "--output=SOURCE", "/var/log/nous").rpartition("/")[2]
    load(server)
    answered(server, 20)
    Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("a test", encoding="ascii")
    wait_for(server, "503", 2)
    stop(server)
    missing, (most, milliseconds) = len(look(server)["missing"]), unrecorded(server)
    print(f"{missing} answers had no record, the guard counted {most} at most; {milliseconds} ms from the last look that saw all well to the rejection")
    assert missing <= most <= missing + 10  # what was under way, of four sessions, and what they ask beside
    assert milliseconds <= 300  # the promise is 100
    watch = "audit-logrotate-nous-watch.service"
    server.sh(f"systemctl stop nous.service {watch}; umount /var/log/nous; mount -o loop /var/tmp/disk /var/log/nous; systemctl start nous.service {watch}")
    wait_for(server, "401", 60)
    assert "audit log mended" in server.out("nous-vm", "history")


@only_full("units have the guard's part")
def test_calls_are_answered_and_the_server_does_not_hold_its_log(server: Host) -> None:
    """One that was told of another log answers all the same, and nothing in this one tells of it."""
    place = "/run/systemd/system/nous.service.d"
    server.put("/run/rotation-test/elsewhere.env", "NOUS_AUDIT_PATH=/var/lib/nous/elsewhere.jsonl\n")
    server.put(f"{place}/elsewhere.conf", "[Service]\nEnvironmentFile=/run/rotation-test/elsewhere.env\n")
    server.sh("systemctl daemon-reload; systemctl restart nous.service")
    load(server)
    wait_for(server, "503", 30)
    stop(server)
    told = [entry for entry in map(json.loads, server.out("tail", "-n9", TRAIL).splitlines()) if entry["event"] == "audit guard"]
    assert "calls were answered since the last record, and nobody holds the log open" in str(told[-2:])
    server.sh(f"rm {place}/elsewhere.conf; systemctl daemon-reload")
    wait_for(server, "401", 90)  # the guard starts it anew, again and again but not at once
    load(server)
    answered(server, 20)
    stop(server)
    assert look(server)["missing"] == []
    row = {row["name"]: row for row in json.loads(server.run("nous-vm", "check", "--json", check=False).stdout)["rows"]}["service holds its log (nous)"]
    assert (row["status"], "holds it open" in row["detail"]) == ("ok", True)
