"""The state lands in the database's own file: when the server is stopped, every day, and when somebody asks for it."""

from __future__ import annotations

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
    count = in_log_alone(host)
    host.sh(f"systemctl start {FLUSH}")
    assert rows(host, "immutable=1") >= count


def test_it_is_flushed_when_the_server_stops(host: Host) -> None:
    count = in_log_alone(host)
    host.sh(f"systemctl stop {UNIT}")
    try:
        assert rows(host, "immutable=1") >= count
        assert host.sh("cat /var/lib/nous/state.db-wal 2> /dev/null | wc -c") == "0"
    finally:
        host.sh(f"systemctl start {UNIT}")
        wait(host.answers, "the server to answer again")


def test_it_is_flushed_daily(host: Host) -> None:
    at, now = host.sh(f'date -d "$(systemctl show --value --property=NextElapseUSecRealtime {TIMER})" +%s; date +%s').split()
    assert 0 < int(at) - int(now) <= DAY + DELAY
    assert (host.show("Unit", TIMER), host.show("ActiveState", TIMER), host.show("UnitFileState", TIMER)) == (FLUSH, "active", "enabled")
