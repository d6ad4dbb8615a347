# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that every host has."""

from __future__ import annotations

import argparse
import os

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import cli
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.commands import check, complete, history
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.health import Finding

OK, FAIL = Finding("key", "signing key", "ok", "fine"), Finding("deploy", "service", "fail", "inactive")


@pytest.mark.parametrize(("found", "code"), [([OK], 0), ([OK, FAIL], 1)])
def test_check(monkeypatch: pytest.MonkeyPatch, found: list[Finding], code: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(check, "parts", dict)
    monkeypatch.setattr(check, "run_parts", lambda _parts: found)
    result = check.run(argparse.Namespace(prometheus=False))
    assert (result.code, len(result.text.splitlines()), len(result.document["rows"])) == (code, len(found), len(found))
    assert ("message" in result.document) is bool(code)


def test_check_needs_root_and_something_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="only root"):
        check.run(argparse.Namespace(prometheus=False))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(check, "parts", dict)
    with pytest.raises(UsageError, match="nothing to check"):
        check.run(argparse.Namespace(prometheus=False))


def test_history(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [
        {"time": "T", "event": "deployed", "result": "done", "user": "alice", "from": "local", "release": "1.2.3", "note": "\x1b[31m"},
        {"event": "\x1b"},
    ]
    monkeypatch.setattr(history, "history", lambda _count: events)
    result = history.run(cli.parser("history", history).parse_args(["--count", "5"]))
    assert result.document == {"events": events}
    assert result.text.splitlines() == [
        "T  deployed       done     by alice from local: release 1.2.3, note \\x1b[31m",
        "  \\x1b                    by  from ",
    ]
    monkeypatch.setattr(history, "history", lambda _count: [])
    assert history.run(argparse.Namespace(count=1)).text == "nothing was recorded yet"


def test_history_of_nothing_is_a_wrong_call() -> None:
    with pytest.raises(UsageError, match="--count is 0; allowed are numbers from 1 on"):
        history.run(argparse.Namespace(count=0))


def test_complete() -> None:
    def words(*given: str) -> list[str]:
        return complete.run(cli.parser("complete", complete).parse_args(["--", *given])).text.split()

    assert "history" in words()
    assert words("history", "--") == ["--count", "--json"]
    assert words("nothing", "") == []
