# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stand-in owes its deployer, seen from outside the process."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import chain
import httpx
import pytest
from conftest import Server

SOURCE = Path(__file__).resolve().parents[1] / "src"
MakeServer = Callable[..., Server]


def audit(server: Server) -> Path:
    return server.home / "audit.jsonl"


def test_no_token_is_answered_401_that_names_the_metadata(server: Server) -> None:
    answer = server.post()
    assert answer.status_code == 401
    metadata = f"{server.url}/.well-known/oauth-protected-resource"
    assert f'resource_metadata="{metadata}"' in answer.headers["www-authenticate"]
    assert httpx.get(metadata).json()["authorization_servers"] == [f"{server.url}/"]
    endpoints = httpx.get(f"{server.url}/.well-known/oauth-authorization-server").json()
    assert {key: endpoints[key] for key in endpoints if key.endswith("_endpoint")} == {
        "authorization_endpoint": f"{server.url}/authorize",
        "token_endpoint": f"{server.url}/token",
        "registration_endpoint": f"{server.url}/register",
        "revocation_endpoint": f"{server.url}/revoke",
    }


def test_wrong_host_is_421_and_foreign_origin_403(server: Server) -> None:
    authorized = {"Authorization": f"Bearer {server.token()}"}
    assert server.post(authorized | {"Host": "elsewhere.example"}).status_code == 421
    assert server.post(authorized | {"Origin": "https://elsewhere.example"}).status_code == 403
    assert server.post(authorized | {"Origin": "https://claude.ai"}).status_code not in (401, 403, 421)


def test_issuers_host_is_allowed_beside_the_bind_address(make_server: MakeServer) -> None:
    server = make_server(NOUS_OAUTH_ISSUER="https://nous.example").start()
    authorized = {"Authorization": f"Bearer {server.token()}"}
    statuses = {host: server.post(authorized | {"Host": host}).status_code for host in ("nous.example", "other.example")}
    assert statuses["nous.example"] not in (401, 421)
    assert statuses["other.example"] == 421
    assert server.post(authorized).status_code not in (401, 421)


def test_an_access_token_lives_as_long_as_was_asked_for(make_server: MakeServer) -> None:
    server = make_server(NOUS_OAUTH_ACCESS_TTL="86400").start()
    asked = time.time()
    server.token()
    tokens = json.loads((server.home / "auth/tokens.json").read_text())
    (left,) = [row["expires_at"] - asked for key, row in tokens.items() if key.startswith("access:")]
    assert 86398 < left < 86460


def test_state_of_oauth_is_private_and_outlives_a_restart(server: Server) -> None:
    authorized = {"Authorization": f"Bearer {server.token()}"}
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (server.home / "auth").iterdir()}
    assert modes == {"clients.json": 0o600, "codes.json": 0o600, "tokens.json": 0o600}
    server.stop()
    server.start()
    assert server.post(authorized).status_code != 401


def test_note_returns_the_audit_line_that_is_on_disk(server: Server) -> None:
    line = server.call("note", text='zwölf "Boxkämpfer"\n')
    assert line["args"] == {"text": 'zwölf "Boxkämpfer"\n'}
    assert json.loads(audit(server).read_text().splitlines()[-1]) == line
    assert stat.S_IMODE(audit(server).stat().st_mode) == 0o600


@pytest.mark.parametrize("flaw", ["changed", "missing", "torn"])
def test_walk_finds_a_flaw(server: Server, flaw: str) -> None:
    for text in "abc":
        server.call("note", text=text)
    whole = audit(server).read_bytes()
    lines = whole.splitlines(keepends=True)
    flawed = {
        "changed": whole.replace(b'"text": "b"', b'"text": "x"'),
        "missing": lines[0] + lines[2],
        "torn": whole[:-1],
    }
    copy = server.home / "copy.jsonl"
    copy.write_bytes(flawed[flaw])
    with pytest.raises(chain.Broken):
        chain.walk([copy])


def test_log_that_cannot_be_opened_leaves_it_degraded_and_serving(make_server: MakeServer) -> None:
    server = make_server()
    audit(server).mkdir()
    server.start()
    line = server.call("note", text="nowhere else")
    assert "Is a directory" in server.call("status")["audit"]["degraded"]
    server.stop()
    assert json.dumps(line) + "\n" in server.log


def test_status_of_a_sound_server(server: Server) -> None:
    server.call("note", text="x")
    seen = server.call("status")
    assert seen["audit"] == {"degraded": "", "written": 2, "head": chain.walk([audit(server)])[-1]["entry_hash"]}
    assert seen["anchors"] == {"degraded": "", "day": datetime.now(UTC).date().isoformat()}
    assert (seen["version"], seen["policy"], seen["profile"]) == ("1.0.0", "open", "jetson-agx-orin")
    assert seen["rows"] >= 1


def test_one_anchor_a_day_whatever_the_restarts(server: Server) -> None:
    first = server.call("note", text="a")
    server.call("note", text="b")
    server.stop()
    server.start()
    server.call("note", text="c")
    (anchor,) = map(json.loads, (server.home / "audit-anchors.jsonl").read_text().splitlines())
    assert anchor["head"] == first["entry_hash"]
    assert anchor["prev_anchor_hash"] == chain.GENESIS


def test_call_executed_twice_is_seen(server: Server) -> None:
    for call_id in ("one", "two", "one"):
        server.call("note", text="x", call_id=call_id)
    server.call("slow", seconds=0.01, call_id="three")
    assert server.call("long", size=3, call_id="four")["result"] == "xxx"
    seen = server.call("status")
    assert (seen["executed"], seen["executed_twice"]) == (6, ["one"])


def test_event_stream_lasts_and_does_not_hold_a_stop(server: Server) -> None:
    headers = {"Authorization": f"Bearer {server.token()}", "Accept": "text/event-stream"}
    with httpx.stream("GET", server.url, headers=headers, timeout=1) as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        with pytest.raises(httpx.ReadTimeout):
            next(stream.iter_raw())
        assert server.stop() in (0, -signal.SIGTERM)


def test_rows_grow_with_the_ticks_and_outlive_a_kill(make_server: MakeServer) -> None:
    server = make_server(NOUS_TICK_HZ="100").start()
    first = server.call("status")["rows"]
    second = server.call("status")["rows"]
    assert second > first
    server.process.kill()
    server.process.wait()
    with sqlite3.connect(server.home / "state.db") as db:
        assert db.execute("SELECT count(*) FROM state").fetchone()[0] >= second
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_flush_empties_the_wal_of_a_running_server(make_server: MakeServer) -> None:
    server = make_server(NOUS_TICK_HZ="0.001").start()
    server.call("note", text="x")
    wal = server.home / "state.db-wal"
    assert wal.stat().st_size > 0
    assert server.run("flush").returncode == 0
    assert wal.stat().st_size == 0
    assert len(chain.walk([audit(server)])) == 1


def test_flush_needs_no_server_and_makes_no_record(make_server: MakeServer) -> None:
    server = make_server()
    assert server.run("flush").returncode == 0
    assert audit(server).read_bytes() == b""


def test_sighup_ends_it(server: Server) -> None:
    server.process.send_signal(signal.SIGHUP)
    assert server.process.wait(10) == -signal.SIGHUP


def test_audit_file_is_held_with_o_append_from_the_first_record_on(server: Server) -> None:
    def held() -> list[int]:
        flags = []
        for fd in Path(f"/proc/{server.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # a connection that was closed meanwhile
                if fd.readlink() == audit(server):
                    flags.append(int(Path(f"/proc/{server.process.pid}/fdinfo/{fd.name}").read_text().split("flags:")[1].split()[0], 8))
        return flags

    assert held() == []
    server.call("note", text="x")
    (flags,) = held()
    assert flags & os.O_APPEND


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NOUS_HTTP_BIND", "127.0.0.1"),
        ("NOUS_HTTP_BIND", "127.0.0.1:99999"),
        ("NOUS_TRANSPORT", "smoke"),
        ("NOUS_POLICY", "lenient"),
        ("NOUS_PROFILE", "abacus"),
        ("NOUS_TICK_HZ", "0"),
        ("NOUS_OAUTH_ENABLED", "perhaps"),
        ("NOUS_OAUTH_ISSUER", "nous.example"),
    ],
)
def test_bad_value_ends_it_at_start_by_name(make_server: MakeServer, name: str, value: str) -> None:
    ended = make_server(**{name: value}).run("serve")
    assert ended.returncode == 1
    assert f"nous: {name}: " in ended.stderr


def test_over_stdio_a_tool_is_called_without_a_token(make_server: MakeServer) -> None:
    server = make_server(NOUS_TRANSPORT="stdio")
    about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    asked: list[dict[str, object]] = [{"id": 1, "method": "initialize", "params": about}, {"method": "notifications/initialized"}]
    asked += [{"id": 2, "method": "tools/call", "params": {"name": "device_info", "arguments": {}}}]
    server.spawn(stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.process.stdin and server.process.stdout
    server.process.stdin.write("".join(json.dumps({"jsonrpc": "2.0", **each}) + "\n" for each in asked))
    server.process.stdin.flush()
    first, second = (json.loads(server.process.stdout.readline()) for _ in "12")
    assert first["result"]["serverInfo"]["name"] == "nous"
    assert json.loads(second["result"]["content"][0]["text"])["transport"] == "stdio"
    assert [record["tool"] for record in chain.walk([audit(server)])] == ["device_info"]


def test_unknown_variable_is_ignored(make_server: MakeServer) -> None:
    make_server(NOUS_NO_SUCH_THING="1").start()


def test_release_without_its_source_tree_does_not_start(make_server: MakeServer, tmp_path: Path) -> None:
    shutil.copytree(SOURCE / "nous", tmp_path / "lost/site-packages/nous")
    ended = make_server(source=tmp_path / "lost/site-packages").run("serve")
    assert ended.returncode == 1
    assert "profiles/jetson-agx-orin.yaml does not exist" in ended.stderr
