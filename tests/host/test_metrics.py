"""What the watch counts, and what the role brings for it, as Prometheus' own tool sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import FORM, REPOSITORY

Host = Any
FILES = REPOSITORY / "collections/ansible_collections/nous/vm/roles/host_watch/files"
RULES, BOARD = FILES / "nous-vm-alerts.yml", FILES / "nous-vm-dashboard.json"
FOLDER = "/root/promtool"
FETCH = f"mkdir -p {FOLDER}; cd {FOLDER}; apt-get update --quiet=2; apt-get download --quiet=2 promtool; dpkg-deb -x promtool_*.deb ."

pytestmark = FORM.only_full("unit tests hold the names against the code")


@pytest.fixture(scope="module")
def promtool(host: Host) -> Host:
    """The host, with the tool of Debian's package promtool, which is not installed."""
    host.sh(FETCH)
    for path in (RULES, Path(__file__).parent / "alerts.test.yml"):
        host.put(f"{FOLDER}/{path.name}", path.read_text(encoding="utf-8"))
    host.sh("touch /var/lib/apt/lists/test_InRelease")
    return host


def run(host: Host, *arguments: str, stdin: str | None = None) -> str:
    done = host.run(f"{FOLDER}/usr/bin/promtool", *arguments, stdin=stdin)
    return str(done.stdout + done.stderr)


def test_the_metrics_are_as_prometheus_wants_them(promtool: Host) -> None:
    """Without a word of its linter; and so is the file of node_exporter."""
    printed = promtool.run("nous-vm", "check", "--prometheus").stdout
    assert "nous_vm_check_row_status{" in printed
    assert run(promtool, "check", "metrics", stdin=printed) == ""
    promtool.sh("mkdir -p /var/lib/prometheus/node-exporter")
    promtool.watch()
    assert run(promtool, "check", "metrics", stdin=promtool.sh("cat /var/lib/prometheus/node-exporter/nous_vm.prom") + "\n") == ""


def test_the_rules_are_rules_and_tell_when_they_should(promtool: Host) -> None:
    assert "12 rules found" in run(promtool, "check", "rules", f"{FOLDER}/{RULES.name}")
    assert "SUCCESS" in run(promtool, "test", "rules", f"{FOLDER}/alerts.test.yml")


def test_the_dashboard_asks_what_prometheus_understands(promtool: Host) -> None:
    asked = [target["expr"] for panel in json.loads(BOARD.read_text(encoding="utf-8"))["panels"] for target in panel["targets"]]
    rules = [{"record": f"a:{number}", "expr": each.replace("$instance", ".*")} for number, each in enumerate(asked)]
    promtool.put(f"{FOLDER}/dashboard.yml", json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(asked)} rules found" in run(promtool, "check", "rules", f"{FOLDER}/dashboard.yml")
