# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The outbox of the watch: nothing is lost while a catcher is away, nothing is repeated for ever, and what is well again is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.health import Finding
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.watch import configuration, message, state

RED = {"deploy: health": "it does not answer"}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "PATH", tmp_path / "state.json")
    monkeypatch.setattr(configuration, "host", lambda: "h")


def told(known: state.State, way: str = "url") -> dict[str, Any]:
    return message.document(known, known.outboxes[way], 100.0)


def test_rows_that_failed_are_red_but_not_the_alerts_themselves() -> None:
    rows = [Finding("deploy", "health", "fail", "no"), Finding("deploy", "service", "warn", "w"), Finding("watch", "alerts", "fail", "x")]
    assert state.red(rows) == {"deploy: health": "no"}


def test_nothing_is_told_while_nothing_changes() -> None:
    known = state.State()
    known.advance(1.0, {}, ["url"])
    assert not known.outboxes["url"].is_due(1.0)
    known.advance(2.0, RED, ["url"])
    assert known.outboxes["url"].is_due(2.0)
    known.outboxes["url"].delivered()
    known.advance(3.0, {"deploy: health": "it answers 500 now"}, ["url"])  # another detail is no change
    assert not known.outboxes["url"].is_due(3.0)
    assert known.red["deploy: health"] == {"detail": "it answers 500 now", "since": 2.0}


def test_red_and_well_again() -> None:
    known = state.State()
    known.advance(0.0, {}, ["url"])
    known.advance(60.0, RED, ["url"])
    about = told(known)
    assert (about["status"], about["id"], [each["row"] for each in about["red"]]) == ("red", "h-1", ["deploy: health"])
    assert about["text"] == "h: 1 row of the check red\nred: deploy: health: it does not answer"
    known.outboxes["url"].delivered()
    known.advance(120.0, {}, ["url"])
    about = told(known)
    assert (about["status"], about["red"], about["changes"][0]["well"]) == ("well", [], ["deploy: health"])
    assert about["text"] == "h: as expected again\nwell again: deploy: health"


def test_what_came_and_went_while_the_catcher_was_away_is_one_message() -> None:
    known = state.State()
    known.advance(0.0, {}, ["url"])
    for at, found in enumerate([RED, {}, RED, {}], start=1):
        known.advance(float(at), found, ["url"])
        known.outboxes["url"].failed(float(at), "away")
    about = told(known)
    assert about["status"] == "well"
    assert len(about["changes"]) == 4
    assert "was red in between: deploy: health" in about["text"]


def test_an_outbox_is_bounded() -> None:
    box = state.Outbox()
    for number in range(3 * state.CHANGES):
        box.add({"at": float(number), "red": RED, "well": []})
    assert (len(box.changes), box.omitted, box.changes[-1]["at"]) == (state.CHANGES, 2 * state.CHANGES, 3.0 * state.CHANGES - 1)


def test_attempts_become_rarer_and_end_until_something_changes() -> None:
    box = state.Outbox()
    box.add({"at": 0.0, "red": RED, "well": []})
    now, pauses = 0.0, []
    while box.is_due(now):
        box.failed(now, "\x1b away")
        pauses.append(box.due - now)
        now = box.due
    assert (len(pauses), box.gave_up, box.problem) == (state.ATTEMPTS, True, "\\x1b away")
    assert pauses[:3] == [300.0, 600.0, 1200.0]
    assert max(pauses) == state.LONGEST
    box.add({"at": now, "red": {}, "well": [*RED]})
    assert box.is_due(now)
    assert len(box.changes) == 2  # what was not told before is still there


def test_who_is_told_for_the_first_time_is_told_what_is_red_already() -> None:
    known = state.State()
    known.advance(1.0, RED, [])
    known.advance(2.0, RED, ["command"])
    assert told(known, "command")["changes"][0]["red"] == RED
    known.advance(3.0, RED, [])
    assert known.outboxes == {}


def test_the_state_outlasts_a_boot() -> None:
    assert state.load() == state.State()
    known = state.State()
    known.advance(1.0, RED, ["url", "command"])
    known.outboxes["url"].failed(1.0, "away")
    state.save(known)
    assert state.load() == known
    state.PATH.write_text('{"outboxes": {"url": {"strange": 1}}}', encoding="utf-8")
    assert state.load() == state.State()


def test_what_a_url_gets() -> None:
    about = message.test(0.0)
    assert message.body(about, "slack") == ("application/json", b'{"text": "h: a test of its alerts; nothing is wrong"}')
    assert message.body(about, "text")[1] == b"h: a test of its alerts; nothing is wrong"
    assert message.body(about, "json")[1].startswith(b'{"host": "h", "status": "test"')


def test_a_text_has_no_more_rows_than_a_person_reads() -> None:
    known = state.State()
    known.advance(0.0, {f"p: {number}": "d" for number in range(100)}, ["url"])
    lines = told(known)["text"].splitlines()
    assert len(lines) == message.SHOWN + 2
    assert lines[-1] == "and 80 more: sudo nous-vm status"
