# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dashboard and alert rules that the role brings name what the code emits, and leave nothing of it out. Whether Prometheus takes them, tests/host shows."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import yaml
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import health, metrics
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.deploy import metrics as deploy

PACKAGE = Path(metrics.__file__).parent
FILES = PACKAGE.parents[2] / "roles/host_watch/files"
NAMES = re.compile(rf"\b{metrics.PREFIX}([a-z0-9_]+)")


def emitted() -> set[str]:
    """Return the metrics that the code makes samples of."""
    found = set()
    for path in PACKAGE.rglob("metrics.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Sample" and isinstance(node.args[0], ast.Constant):
                found.add(str(node.args[0].value))
    return found


def expressions() -> dict[str, list[str]]:
    """Return the expressions of the rules, and those of the dashboard."""
    rules = yaml.safe_load((FILES / "nous-vm-alerts.yml").read_text(encoding="utf-8"))
    board = json.loads((FILES / "nous-vm-dashboard.json").read_text(encoding="utf-8"))
    asked = [each["query"]["query"] for each in board["templating"]["list"] if isinstance(each["query"], dict)]
    return {
        "alerts": [rule["expr"] for group in rules["groups"] for rule in group["rules"]],
        "dashboard": [target["expr"] for panel in board["panels"] for target in panel["targets"]] + asked,
    }


def test_nothing_is_named_that_nobody_emits() -> None:
    known = emitted()
    assert len(known) > 25, "they are found"
    for where, each in ((where, each) for where, all_of_them in expressions().items() for each in all_of_them):
        names = NAMES.findall(each)
        assert names and set(names) <= known, (where, each)


def test_nothing_is_emitted_that_nobody_sees() -> None:
    shown = {name for each in expressions()["dashboard"] for name in NAMES.findall(each)}
    assert emitted() - shown == set()


def test_each_is_documented() -> None:
    words = set(re.findall("`([a-z_]+)`", (FILES.parent / "docs.md").read_text(encoding="utf-8")))
    assert emitted() - words == set()


def test_a_row_of_each_status_but_ok_is_told_of() -> None:
    told = {int(number) for each in expressions()["alerts"] for number in re.findall(r"^nous_vm_check_row_status == ([0-9])$", each)}
    assert told == {health.STATUSES.index(each) for each in health.STATUSES if each != "ok"}


def test_values_of_labels_are_those_of_the_code() -> None:
    words = {"backend": set(deploy.BACKENDS), "class": set(deploy.CLASSES)}
    for each in [one for all_of_them in expressions().values() for one in all_of_them]:
        for label, value in re.findall(r'([a-z_]+)="([^"]*)"', each):
            assert value in words[label], each


def test_each_panel_and_each_alert_says_what_it_is() -> None:
    rules = yaml.safe_load((FILES / "nous-vm-alerts.yml").read_text(encoding="utf-8"))
    for rule in [rule for group in rules["groups"] for rule in group["rules"]]:
        assert rule["labels"]["severity"] in ("critical", "warning", "info"), rule
        assert rule["annotations"].keys() == {"summary", "description"} and "$labels.instance" in rule["annotations"]["summary"], rule
    board = json.loads((FILES / "nous-vm-dashboard.json").read_text(encoding="utf-8"))
    taken = [each["gridPos"] for each in board["panels"]]
    assert len({each["id"] for each in board["panels"]}) == len({(each["x"], each["y"]) for each in taken}) == len(taken)
    assert all(each["x"] + each["w"] <= 24 for each in taken)
