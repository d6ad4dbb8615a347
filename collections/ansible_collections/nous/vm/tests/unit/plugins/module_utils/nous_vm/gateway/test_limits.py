# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The row on the limits of connections, by what nft prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import limits
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed


def counter(name: str, packets: object) -> dict[str, Any]:
    return {"counter": {"family": "inet", "name": name, "table": "nous_gateway", "packets": packets, "bytes": 0}}


def rule(name: str) -> dict[str, Any]:
    return {"rule": {"family": "inet", "chain": "limit", "expr": [{"match": {}}, {"counter": name}, {"drop": None}]}}


def nft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, code: int = 0) -> None:
    program = tmp_path / "nft"
    (tmp_path / "printed").write_text(printed, encoding="utf-8")
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/printed\nexit {code}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(limits, "NFT", str(program))


WHOLE = [{"metainfo": {}}, counter("too_many", 3), counter("too_fast", 4), rule("too_many"), rule("too_fast")]


@pytest.mark.parametrize(
    ("printed", "code", "status", "detail"),
    [
        (WHOLE, 0, "ok", "3 connections denied for too many at a time; 4 connections denied for too many new ones since the last boot"),
        ([], 1, "fail", "the table inet nous_gateway is absent; nous-gateway-limits.timer puts it back within a minute"),
        (WHOLE[:4], 0, "fail", "the table inet nous_gateway has no rule too_fast; nous-gateway-limits.timer puts it back within a minute"),
        ([counter("too_many", "x"), *WHOLE[2:]], 0, "unknown", "nft printed something else than expected"),
        ([1], 0, "unknown", "nft printed something else than expected"),
    ],
)
def test_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: list[Any], code: int, status: str, detail: str) -> None:
    nft(tmp_path, monkeypatch, json.dumps({"nftables": printed}), code)
    row = limits.check(wanted=True)
    assert (row.name, row.status) == ("connection limits", status)
    assert row.detail.startswith(detail)


@pytest.mark.parametrize("printed", ["", "{", "[]", '{"nftables": null}'])
def test_what_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str) -> None:
    nft(tmp_path, monkeypatch, printed)
    assert limits.check(wanted=True).status == "unknown"


def test_none_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "NFT", "/absent")
    assert limits.check(wanted=False).status == "ok"
    assert limits.check(wanted=True).status == "fail"


def test_who_has_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    """An IPv6 network of /64 is one address."""
    known = {("new_listed4", "{ 203.0.113.7 }"), ("new6", "{ 2001:db8:1:: }")}
    monkeypatch.setattr(limits, "run", lambda argv, **_limits: Completed(0 if (argv[5], argv[6]) in known else 1, b"", b""))
    assert [limits.arrived(each) for each in ("203.0.113.7", "203.0.113.8", "2001:db8:1::7", "2001:db8:2::7")] == [True, False, True, False]
