# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Metrics: what Prometheus reads, of rows, of what the parts count, and of how long a disk will have room."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import metrics, pause
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit import metrics as audit
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.commands import check
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import metrics as deploy
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import allowed, counted, probe
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import configuration as gateway_configuration
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway import metrics as gateway
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.health import Finding
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.metrics import Sample
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.watch import configuration, space, state, trend
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.watch import metrics as watch

ROWS = [Finding("deploy", "health", "ok", "y"), Finding("watch", 'mode of "a"\\', "fail", "z")]
STAT = (
    "# pxname,svname,qcur,scur,stot,hrsp_2xx,hrsp_5xx,qtime,ttime,rate,\n"
    "nous,FRONTEND,,3,,41,2,,,1,\nnous,with_token,,1,30,,,,,,\nnous,tokenless,,2,13,,,,,,\n"
    "requests,nous,0,0,0,,,0,0,0,\nrequests,BACKEND,4,2,40,,,15,303,0,\nstreams,BACKEND,0,0,3,,,0,,0,\n"
)


def test_the_rows_of_a_check() -> None:
    text = metrics.text(metrics.of_check(ROWS, 1.23456, 1000.0))
    lines = text.splitlines()
    assert "# TYPE nous_vm_check_healthy gauge" in lines
    assert "nous_vm_check_healthy 0" in lines
    assert "nous_vm_check_duration_seconds 1.235" in lines
    assert 'nous_vm_check_rows{status="fail"} 1' in lines
    assert 'nous_vm_check_row_status{part="deploy",row="health"} 0' in lines
    assert 'nous_vm_check_row_status{part="watch",row="mode of \\"a\\"\\\\"} 3' in lines
    assert lines.count("# HELP nous_vm_check_row_status Status of a row: 0 ok, 1 warn, 2 unknown, 3 fail.") == 1


def test_what_no_prometheus_reads_is_left_out() -> None:
    twice = [Sample("x_total", "a\nb", 1.5, {"a": "1"}), Sample("x_total", "a", 2.0, {"a": "1"}), Sample("Bad name", "a", 1.0)]
    assert metrics.text(twice) == '# HELP nous_vm_x_total a\\nb\n# TYPE nous_vm_x_total counter\nnous_vm_x_total{a="1"} 1.5\n'


def test_a_part_that_breaks_costs_its_own_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    def good() -> Iterator[Sample]:
        yield Sample("releases", "r", 2.0, {"a": "b"})
        raise OSError("gone")

    monkeypatch.setattr(metrics, "applied", lambda _module: ["deploy"])
    monkeypatch.setattr(deploy, "metrics", good)
    assert metrics.of_parts() == [Sample("releases", "r", 2.0, {"a": "b"})]


def test_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(check, "parts", dict)
    monkeypatch.setattr(check, "run_parts", lambda _parts: ROWS)
    monkeypatch.setattr(metrics, "of_parts", list)
    result = check.run(argparse.Namespace(prometheus=True))
    assert (result.code, result.text.startswith("# HELP nous_vm_check_healthy ")) == (0, True)


class FakeProxy:
    def command(self, _text: str) -> str:
        return STAT


def test_the_proxy() -> None:
    proxy: Any = FakeProxy()
    found = {(each.name, *each.labels.values()): each.value for each in deploy.of_proxy(proxy)}
    assert found["proxy_responses_total", "2xx"] == 41
    assert found["proxy_responses_total", "3xx"] == 0
    assert found["proxy_connections",] == 3
    assert (found["requests_total", "allowed"], found["requests_total", "public"]) == (30, 13)
    assert found["proxy_queue", "requests"] == 4
    assert found["proxy_latency_seconds", "requests"] == 0.303
    assert found["proxy_requests_total", "streams"] == 3


def test_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    releases = argparse.Namespace(current=lambda: "r1", built=lambda: ["r1", "r2"], failed=lambda: {"r2": "x"})
    names = argparse.Namespace(server="nous.service", proxy="nous-proxy.service")
    monkeypatch.setattr(deploy, "service", lambda: argparse.Namespace(releases=releases, names=names, proxy=FakeProxy()))
    monkeypatch.setattr(metrics, "show_all", lambda units, *_properties: {unit: {"NRestarts": "3"} for unit in units})
    monkeypatch.setattr(pause, "reasons", lambda: [argparse.Namespace(since=0.0)])
    found = {(each.name, *each.labels.values()): each.value for each in deploy.metrics()}
    assert (found["release_info", "r1"], found["releases",], found["releases_failed",]) == (1, 2, 1)
    assert found["unit_restarts_total", "nous.service"] == 3
    assert found["traffic_pauses",] == 1
    assert found["traffic_paused_seconds",] > 1e9


def test_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = argparse.Namespace(live=tmp_path / "audit.jsonl")
    log.live.write_text("{}\n{}\n", encoding="utf-8")
    monkeypatch.setattr(audit, "everything", lambda: [argparse.Namespace(name="nous")])
    monkeypatch.setattr(audit, "logs_of", lambda _config: [log])
    monkeypatch.setattr(audit, "archives", lambda _log: {1: "a"})
    assert {each.name: each.value for each in audit.metrics()} == {"audit_log_bytes": 6, "audit_log_lines": 2, "audit_archives": 1}
    monkeypatch.setattr(audit, "LARGEST", 5)
    assert "audit_log_lines" not in {each.name for each in audit.metrics()}


def test_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counted, "denied_since", lambda _at: argparse.Namespace(addresses={"192.0.2.1": (3, 0), "192.0.2.2": (1, 0)}))
    monkeypatch.setattr(allowed, "current", lambda: ["one"])
    monkeypatch.setattr(gateway_configuration, "parameters", lambda: argparse.Namespace(hostname="h"))
    monkeypatch.setattr(probe, "certificate", lambda _name: argparse.Namespace(end=2e10))
    monkeypatch.setattr(metrics, "show_all", lambda units, *_properties: {unit: {"NRestarts": "4"} for unit in units if unit == "caddy.service"})
    found = {each.name: each.value for each in gateway.metrics()}
    assert found["unit_restarts_total"] == 4
    assert (found["gateway_denied_requests"], found["gateway_denied_addresses"], found["gateway_allowed_for_a_time"]) == (4, 2, 1)
    assert found["gateway_certificate_seconds"] > 1e9


def test_the_host_and_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configuration.Configuration([], [], [], [], [], "json", [], str(tmp_path / "collector"), False, "")
    known = state.State(at=5.0, outboxes={"url": state.Outbox(changes=[{}])}, free={"/": [[hour * 3600.0, 100e9 - hour * 1e9] for hour in range(24)]})
    monkeypatch.setattr(state, "load", lambda: known)
    monkeypatch.setattr(space, "file_systems", lambda: [space.FileSystem("/", 200, 100, 1, 1)])
    found = {each.name: each.value for each in watch.metrics()}
    assert found["filesystem_full_days"] == pytest.approx(77 / 24, abs=0.01)
    assert (found["alerts_waiting"], found["filesystem_free_bytes"]) == (1, 100)
    assert not watch.publish(config, ROWS, 1.0)
    assert not watch.publish(config._replace(textfile=""), ROWS, 1.0)
    monkeypatch.setattr(metrics, "of_parts", list)
    (tmp_path / "collector").mkdir()
    assert watch.publish(config, ROWS, 1.0)
    (file,) = (tmp_path / "collector").iterdir()
    assert (file.name, file.stat().st_mode & 0o777) == ("nous_vm.prom", 0o644)
    assert file.read_text(encoding="utf-8").startswith("# HELP nous_vm_check_healthy")


@pytest.mark.parametrize(
    ("looks", "days"),
    [
        ([[0.0, 1.0]], None),
        ([[hour * 3600.0, 50e9] for hour in range(9)], None),
        ([[hour * 3600.0, 50e9 + hour] for hour in range(9)], None),
        ([[hour * 3600.0, 50e9 - hour] for hour in range(9)], trend.MOST),
        ([[0.0, 5.0]] * 9, None),
    ],
)
def test_no_end_in_sight(looks: list[list[float]], days: float | None) -> None:
    assert trend.days_left(looks) == days


def test_looks_are_an_hour_apart_and_bounded() -> None:
    looks: list[list[float]] = []
    for minute in range(0, 60 * 24 * 10, 5):
        looks = trend.add(looks, minute * 60.0, 1.0)
    assert len(looks) == trend.KEPT
    assert looks[1][0] - looks[0][0] == trend.EVERY
