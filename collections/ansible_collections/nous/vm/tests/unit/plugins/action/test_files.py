# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action files executes nothing for a set that is on the host, and the module with the whole set for any other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible import constants
from ansible.errors import AnsibleActionFail
from ansible_collections.nous.vm.plugins.action.files import ActionModule
from ansible_collections.nous.vm.plugins.module_utils._probe import answers
from ansible_collections.nous.vm.plugins.plugin_utils import package, run

from .acting import Acting

MODULE = {"changed": True, "changed_paths": ["/x"], "diff": []}


@pytest.fixture
def acting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Acting:
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path / "run"))
    return Acting(monkeypatch, ActionModule, lambda _name, _arguments: MODULE)


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Any]:
    """A set that is on this host, with what the probe of this run saw."""
    path = tmp_path / "a"
    path.write_text("text", encoding="utf-8")
    path.chmod(0o600)
    return {"files": [{"path": str(path), "secret_content": "text", "mode": "0600", "owner": str(path.stat().st_uid), "group": str(path.stat().st_gid)}]}


def seen(tmp_path: Path) -> str:
    """Return the number of what a probe of this run saw."""
    return run.record(answers({"paths": [f"{tmp_path}/*"]}, bytes.fromhex(run.key())))


def test_nothing_is_executed(acting: Acting, arguments: dict[str, Any], tmp_path: Path) -> None:
    found = acting.run(arguments | {"seen": seen(tmp_path)})
    assert (found["changed"], found["changed_paths"], found["diff"], acting.executed) == (False, [], [], [])


def test_what_was_seen_by_another_run_tells_nothing(acting: Acting, arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = seen(tmp_path)
    (tmp_path / "other").mkdir()
    monkeypatch.setattr(constants, "DEFAULT_LOCAL_TMP", str(tmp_path / "other"))
    acting.run(arguments | {"seen": identity})
    assert len(acting.executed) == 1


@pytest.mark.parametrize("identity", [None, {}, "text", "0" * 32])
def test_the_module_is_executed_without_what_was_seen(acting: Acting, arguments: dict[str, Any], identity: Any) -> None:
    found = acting.run(arguments | {"seen": identity})
    assert (found["changed"], found["changed_paths"]) == (True, ["/x"])
    assert acting.executed == [("nous.vm.files", arguments)]


def test_the_module_is_executed_where_something_differs(acting: Acting, arguments: dict[str, Any], tmp_path: Path) -> None:
    identity = seen(tmp_path)
    other = {"files": [arguments["files"][0] | {"secret_content": "other"}]}
    assert acting.run(other | {"seen": identity})["changed"]
    assert acting.executed == [("nous.vm.files", other)]


@pytest.mark.parametrize("option", ["template", "secret_template"])
def test_a_template_is_rendered_here(acting: Acting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    """With what it includes, the variables of the task, and its line ends as they are."""
    (tmp_path / "a.j2").write_text("{% if name %}\n{{ name }}\n{% endif %}\n  {% include 'b.j2' %}\n", encoding="utf-8")
    (tmp_path / "b.j2").write_text("b\\n\n", encoding="utf-8")
    monkeypatch.setattr(ActionModule, "_find_needle", lambda _self, folder, name: {"templates": str(tmp_path / name)}[folder])
    acting.run({"files": [{"path": "/x", option: "a.j2"}]}, {"name": "{{ 'A' | lower }}"})
    assert acting.executed == [("nous.vm.files", {"files": [{"path": "/x", option.replace("template", "content"): "a\n  b\\n\n"}]})]


@pytest.mark.parametrize("order", [["template", "content"], ["secret_content", "secret_template"]])
def test_a_file_has_content_or_a_template(acting: Acting, monkeypatch: pytest.MonkeyPatch, order: list[str]) -> None:
    monkeypatch.setattr(ActionModule, "render", lambda *_arguments: "")
    with pytest.raises(AnsibleActionFail, match=r"^/x has both (secret_)?content and a template of it; a file has one of them[.]$"):
        acting.run({"files": [{"path": "/x", **dict.fromkeys(order, "a")}]})
    assert acting.executed == []


def test_the_host_s_package_comes_first(acting: Acting) -> None:
    own = {"path": "/x", "content": ""}
    acting.run({"package": ["key"], "files": [own]})
    ((_name, arguments),) = acting.executed
    assert arguments == {"files": [*package.entries(["key"]), own], "byte_compile": "/usr/local/lib/nous-vm/nous_vm"}
    acting.run({"package": [], "byte_compile": "/y"})
    assert acting.executed[1][1] == {"files": package.entries([]), "byte_compile": "/y"}


def headed(before: str, after: str, old: Any, new: Any) -> dict[str, Any]:
    return {"before_header": before, "after_header": after, "before": old, "after": new}


def test_what_is_new_of_the_host_s_package_is_one_line_of_a_diff(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As a transaction has it, that of a bare host; what was edited, emptied too, is shown, and so is all that is not the package's."""
    root = "/usr/local/lib/nous-vm/nous_vm"
    shown = [
        headed(f"{root}/health.py (root:root 0644)", f"{root}/health.py (root:root 0644)", "", "text\n"),
        headed(f"{root}/cli.py (root:root 0666)", f"{root}/cli.py (root:root 0644)", "edited\n", "text\n"),
        headed("/etc/nous-vm/a (absent)", "/etc/nous-vm/a (root:root 0644)", "", "text\n"),
    ]
    new = [
        headed(f"{root}/key", f"{root}/key", {"state": "absent"}, {"state": "directory"}),
        headed(f"{root}/key/keys.py (absent)", f"{root}/key/keys.py (root:root 0644)", "", "text\n"),
    ]
    result: dict[str, Any] = {"changed": True, "changed_paths": ["/x"], "diff": [*new, *shown]}
    found = Acting(monkeypatch, ActionModule, lambda _name, _arguments: result).run({"files": []})
    assert found["diff"] == [headed(root, root, "", "2 new files and folders, as the collection has them\n"), *shown]


def test_a_subpackage_that_is_none_is_rejected(acting: Acting) -> None:
    with pytest.raises(AnsibleActionFail, match=r"^package has 'nonesuch', which is no subpackage of nous_vm; allowed is .* for example .deploy.[.]$"):
        acting.run({"package": ["nonesuch"]})


@pytest.mark.parametrize("files", ["text", ["text"]])
def test_what_makes_no_sense_goes_to_the_module(acting: Acting, files: Any) -> None:
    acting.run({"files": files})
    assert acting.executed == [("nous.vm.files", {"files": files})]
