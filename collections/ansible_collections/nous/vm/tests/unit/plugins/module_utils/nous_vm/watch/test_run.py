# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of the watch: what is red for a moment alone is no alert, and who cannot be told is told later."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.health import Finding
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.watch import configuration, deliver, failures, identity, post, run, space, state, told
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.watch.commands import watch_failed, watch_run, watch_send, watch_test

GOOD = Finding("deploy", "health", "ok", "answers")
BAD = Finding("deploy", "health", "fail", "no")
CONFIG = configuration.Configuration([], [], [], [], ["/bin/tell"], "text", ["alert-url", "heartbeat-url"], "", False, "")


@contextlib.contextmanager
def unlocked(_name: str, _what: str, **_options: float) -> Iterator[int]:
    yield 0


@pytest.fixture
def sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], bytes]]:
    """What the units that send were started with; those whose program is in FAIL fail."""
    made: list[tuple[list[str], bytes]] = []

    def in_unit(_unit: str, properties: list[str], argv: list[Any], **options: Any) -> Completed:
        assert "DynamicUser=yes" in properties
        made.append(([*map(str, argv), *(each for each in properties if each.startswith("LoadCredential"))], options["stdin"]))
        return Completed(1, b"", b"secret of the command") if (tmp_path / "away").exists() else Completed(0, b"", b"")

    monkeypatch.setattr(deliver, "in_unit", in_unit)
    monkeypatch.setattr(state, "PATH", tmp_path / "state.json")
    monkeypatch.setattr(run, "held", unlocked)
    monkeypatch.setattr(run, "CONFIRM", (0.0,))
    monkeypatch.setattr(identity, "PATH", tmp_path / "machine.json")
    monkeypatch.setattr(space, "file_systems", list)
    monkeypatch.setattr(failures, "FOLDER", tmp_path / "failed")
    return made


def check(monkeypatch: pytest.MonkeyPatch, *rows: Finding) -> None:
    monkeypatch.setattr(run, "checked", lambda _config: [*rows])


def test_a_red_row_is_told_to_both_and_the_heartbeat_stops(sent: list[tuple[list[str], bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    check(monkeypatch, GOOD)
    run.run(CONFIG)
    assert [argv[-1] for argv, _content in sent] == ["LoadCredential=heartbeat-url:/etc/nous-vm/watch/heartbeat-url"]
    sent.clear()
    check(monkeypatch, BAD)
    run.run(CONFIG)
    run.run(CONFIG)
    (command, document), (url, text) = sent
    assert command == ["/bin/tell"]
    assert json.loads(document)["red"][0]["row"] == "deploy: health"
    assert url[3:] == ["watch", "send", "--url", "alert-url", "--type", "text/plain; charset=utf-8", "LoadCredential=alert-url:/etc/nous-vm/watch/alert-url"]
    assert b"deploy: health: no" in text
    sent.clear()
    check(monkeypatch, GOOD)
    run.run(CONFIG)
    assert [json.loads(content)["status"] if argv == ["/bin/tell"] else "" for argv, content in sent] == ["well", "", ""]


def test_who_is_away_is_told_later(sent: list[tuple[list[str], bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    check(monkeypatch, GOOD)
    run.run(CONFIG)
    (tmp_path / "away").touch()
    check(monkeypatch, BAD)
    run.run(CONFIG)
    row = told.alerts(CONFIG, state.load())
    assert (row.status, "secret" in row.detail) == ("fail", False)
    assert "1 changes wait for the command: host_watch_alert_command ended with the exit code 1; tried again from" in row.detail
    before = len(sent)
    run.run(CONFIG)  # not due yet
    assert len(sent) == before
    (tmp_path / "away").unlink()
    now[0] += state.PERIOD
    run.run(CONFIG)
    run.run(CONFIG)
    assert len(sent) == before + 2
    assert told.alerts(CONFIG, state.load()).status == "ok"


def test_a_unit_that_failed_and_works_again_is_told(sent: list[tuple[list[str], bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    check(monkeypatch, GOOD)
    run.run(CONFIG)
    sent.clear()
    monkeypatch.setattr(failures, "recent", lambda: {"x.service": "exit-code"})
    run.run(CONFIG)
    run.run(CONFIG)
    assert [json.loads(content)["red"][0]["detail"] for argv, content in sent if argv == ["/bin/tell"]] == ["x.service failed (exit-code) in the last 15 min"]
    assert sum("heartbeat-url" in argv[-1] for argv, _content in sent) == 2  # the host is as expected


def test_a_heartbeat_that_is_not_taken_is_a_row(sent: list[tuple[list[str], bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(monkeypatch, GOOD)
    assert told.heartbeat(state.load()).detail == "not yet"
    run.run(CONFIG)
    assert told.heartbeat(state.load()).status == "ok"
    (tmp_path / "away").touch()
    run.run(CONFIG)
    row = told.heartbeat(state.load())
    assert row.status == "warn"
    assert "none" not in row.detail


@pytest.mark.parametrize(
    ("looks", "known", "red", "count"),
    [
        ([[BAD], [GOOD]], set(), set(), 2),  # a restart
        ([[BAD], [BAD], [BAD]], set(), {"deploy: health"}, 3),
        ([[BAD]], {"deploy: health"}, {"deploy: health"}, 1),  # no news is not looked at again
        ([[BAD], [BAD, BAD._replace(name="service")], [BAD]], set(), {"deploy: health"}, 3),
        ([[BAD], [BAD._replace(name="service")]], set(), set(), 2),  # the next run looks at the other one
    ],
)
def test_a_row_is_looked_at_again(looks: list[list[Finding]], known: set[str], red: set[str], count: int) -> None:
    given = iter(looks)
    found = run.look(known, lambda: next(given), (0.0, 0.0))
    assert set(state.red(found)) == red
    assert len(list(given)) == len(looks) - count


def test_the_commands(sent: list[tuple[list[str], bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    none = argparse.Namespace()
    monkeypatch.setattr(watch_run, "load", lambda: CONFIG)
    check(monkeypatch, BAD)
    result = watch_run.run(none)
    assert (result.code, result.text, result.document["healthy"]) == (0, "red: deploy: health: no", False)
    monkeypatch.setattr(configuration, "load", lambda: CONFIG)
    assert watch_test.run(none).document == {"told": ["command", "url"], "not_told": {}}
    (tmp_path / "away").touch()
    result = watch_test.run(none)
    assert (result.code, result.document["told"]) == (1, [])
    assert "the exit code 1: secret of the command" in result.text  # on the terminal of who tests it
    monkeypatch.setattr(configuration, "load", lambda: CONFIG._replace(command=[], secrets=[]))
    with pytest.raises(UsageError, match="nobody is told"):
        watch_test.run(none)


def test_send_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    posted: list[Any] = []
    monkeypatch.setattr(post, "url", lambda name: name)
    monkeypatch.setattr(post, "post", lambda *given: posted.append(given))
    monkeypatch.setattr(sys, "stdin", argparse.Namespace(buffer=argparse.Namespace(read=lambda most: b"x" * min(most, 3))))
    assert watch_send.run(argparse.Namespace(url="alert-url", type="text/plain")).code == 0
    assert posted == [("alert-url", "text/plain", b"xxx")]


def test_units_that_failed_are_noted_and_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, ...]] = []
    about = {"LoadState": "loaded", "ActiveState": "failed", "Transient": "no", "Result": "exit-code"}
    monkeypatch.setattr(failures, "FOLDER", tmp_path / "watch/failed")
    monkeypatch.setattr(configuration, "FOLDER", tmp_path / "watch")
    monkeypatch.setattr(failures, "show", lambda _unit, *_names: about)
    monkeypatch.setattr(watch_failed, "systemctl", lambda *words: started.append(words))
    watch_failed.run(argparse.Namespace(unit="nous.service"))
    assert failures.recent() == {"nous.service": "exit-code"}
    assert started == [("start", "--no-block", "host-watch.service")]
    about["Transient"] = "yes"
    watch_failed.run(argparse.Namespace(unit="nous-candidate.service"))
    about |= {"Transient": "no", "ActiveState": "activating"}  # systemd starts it again
    watch_failed.run(argparse.Namespace(unit="nous-vm-ready.service"))
    assert len(started) == 1
    about["Restart"] = "no"  # it failed, and works again by now
    monkeypatch.setenv("MONITOR_SERVICE_RESULT", "signal")
    for status, count in (("TERM", 1), ("KILL", 2)):
        monkeypatch.setenv("MONITOR_EXIT_STATUS", status)
        watch_failed.run(argparse.Namespace(unit="nous.service"))
        assert len(started) == count
    about["ActiveState"] = "failed"
    for name in ("../x", ".x", "", "a b"):
        with pytest.raises(UsageError, match="no name of a unit"):
            failures.note(name)
    about["Transient"] = "no"
    monkeypatch.setattr(failures, "MOST", 2)
    for name in ("a.service", "b.service"):
        failures.note(name)
    assert sorted(failures.recent()) == ["a.service", "nous.service"]
    monkeypatch.setattr(failures, "RECENT", -1.0)
    assert failures.recent() == {}
    failures.note("c.service")
    assert [path.name for path in failures.FOLDER.glob("*.json")] == ["c.service.json"]
