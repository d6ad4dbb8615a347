"""The state lands in the database's own file: when the server is stopped, every day, and when somebody asks for it."""

from __future__ import annotations

import ast

from controller import wait
from host import UNIT, Host

FLUSH, TIMER = "nous-state-flush.service", "nous-state-flush.timer"
DAY, DELAY = 24 * 3600, 15 * 60  # seconds


def rows(host: Host, how: str) -> int:
    """Return how many ticks are in the database: with what is in the write-ahead log (mode=ro), or without (immutable=1)."""
    database = f"file:/var/lib/nous/state.db?{how}"
    script = f"import sqlite3\nprint(*sqlite3.connect({database!r}, uri=True).execute('SELECT count(*) FROM state').fetchone())"
    return int(host.sh("python3 -", stdin=script))


def in_log_alone(host: Host) -> int:
    """Wait until there are ticks that only the write-ahead log has; return how many there are in all."""
    host.sh(f"systemctl start {FLUSH}")  # of a host that never flushed, not even the table is in the database's own file
    return int(wait(lambda: (count := rows(host, "mode=ro")) > rows(host, "immutable=1") and count, "a tick in the write-ahead log"))


def test_it_is_flushed_on_demand(host: Host) -> None:
    """As often as it is demanded: systemd's default is five starts in ten seconds."""
    count = in_log_alone(host)
    host.sh(f"for _ in 1 2 3 4 5 6; do systemctl start {FLUSH}; done")
    assert rows(host, "immutable=1") >= count


def test_it_is_flushed_when_the_server_stops(host: Host) -> None:
    count = in_log_alone(host)
    host.sh(f"systemctl stop {UNIT}")
    try:
        wait(lambda: rows(host, "immutable=1") >= count, "the state to be flushed")
        wait(lambda: host.sh("cat /var/lib/nous/state.db-wal 2> /dev/null | wc -c") == "0", "the write-ahead log to be empty")
    finally:
        host.sh(f"systemctl start {UNIT}")
        wait(host.answers, "the server to answer again")


def test_that_a_restart_ends_it_is_no_failure(host: Host) -> None:
    """The restart wants the database for itself, as a deployment does; of a failure somebody would be told."""
    slow = f"/run/systemd/system/{FLUSH}.d/slow.conf"
    host.put(slow, "[Service]\nExecStart=\nExecStart=/opt/nous/current/venv/bin/python -c 'import time; time.sleep(300)'\n")
    try:
        host.sh(f"systemctl daemon-reload; systemctl start --no-block {FLUSH}")
        wait(lambda: host.show("MainPID", FLUSH) != "0", "the flush to run")
        host.sh("/usr/local/sbin/nous-vm restart")
        assert (host.show("ActiveState", FLUSH), host.show("Result", FLUSH)) == ("inactive", "success")
    finally:
        host.sh(f"rm {slow}; systemctl daemon-reload")


HOSTILE = """import os, sys
if "flush" in sys.orig_argv:
    files = [os.path.join(top, each) for place in ("/etc", "/root", "/home", "/usr/bin") for top, _folders, files in os.walk(place) for each in files]
    print(files, file=open("/var/lib/nous/seen", "w"))
"""


def test_the_flush_after_a_stop_sees_no_host(host: Host) -> None:
    """A release's own code is run by it, as by the flush of the timer: in the same sandbox."""
    hook = host.sh("echo $(ls -d /opt/nous/current/venv/lib/python*/site-packages)/sitecustomize.py")
    host.put(hook, HOSTILE)
    host.sh("chmod 644 /opt/nous/current/venv/lib/python*/site-packages/sitecustomize.py")
    try:
        seen: list[list[str]] = []
        for _ in range(2):
            host.sh(f"rm -f /var/lib/nous/seen; systemctl {'start ' + FLUSH if not seen else 'restart ' + UNIT}")
            seen.append(ast.literal_eval(str(wait(lambda: host.sh("cat /var/lib/nous/seen 2> /dev/null", check=False), "what the flush saw"))))
        assert seen[1] == seen[0]
        assert [each for each in seen[1] if not each.startswith("/usr/bin/python3")] == []
    finally:
        host.sh(f"rm -f {hook} /var/lib/nous/seen")
        wait(host.answers, "the server to answer again")


def test_it_is_flushed_daily(host: Host) -> None:
    at, now = host.sh(f'date -d "$(systemctl show --value --property=NextElapseUSecRealtime {TIMER})" +%s; date +%s').split()
    assert 0 < int(at) - int(now) <= DAY + DELAY
    assert (host.show("Unit", TIMER), host.show("ActiveState", TIMER), host.show("UnitFileState", TIMER)) == (FLUSH, "active", "enabled")
