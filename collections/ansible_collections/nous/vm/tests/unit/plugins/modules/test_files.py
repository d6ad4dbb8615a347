# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module files as ansible runs it: arguments in, one JSON document out, and no secret in it or in the host's log."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nous.vm.plugins.modules import files

Run = Callable[..., tuple[int, dict[str, Any], str]]
ME = {"owner": str(os.geteuid()), "group": str(os.getegid())}
SECRET = 'PASSWORD="hunter\'s two"\nTOKEN=quux\\ä\n'
PARTS = ("hunter", "quux")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the module; return its exit code and what it printed, both parsed and as it is."""

    def _run(*entries: dict[str, Any], **arguments: Any) -> tuple[int, dict[str, Any], str]:
        given = {"files": [{**ME, **entry} for entry in entries], "_ansible_diff": True, **arguments}
        with patch_module_args(given), pytest.raises(SystemExit) as end:
            files.main()
        printed = capsys.readouterr()
        return int(end.value.code or 0), json.loads(printed.out), printed.out + printed.err

    return _run


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the module hands to the host's log."""
    output: list[str] = []
    monkeypatch.setattr(basic, "has_journal", False)
    monkeypatch.setattr(basic.syslog, "syslog", lambda *arguments: output.append(str(arguments[-1])))
    return output


def test_written_once(run: Run, tmp_path: Path) -> None:
    entries = [
        {"path": f"{tmp_path}/d", "state": "directory"},
        {"path": f"{tmp_path}/d/a", "content": "text\n", "mode": "0640"},
        {"path": f"{tmp_path}/d/b", "secret_content": SECRET, "mode": "0600"},
    ]
    validate = [{"argv": ["test", "-s", f"{{{tmp_path}/d/a}}"]}]
    paths = [f"{tmp_path}/d", f"{tmp_path}/d/a", f"{tmp_path}/d/b"]
    rc, foretold, _text = run(*entries, validate=validate, _ansible_check_mode=True)
    assert (rc, foretold["changed"], foretold["changed_paths"]) == (0, True, paths)
    assert list(tmp_path.iterdir()) == []

    rc, first, _text = run(*entries, validate=validate)
    assert (rc, first["changed"], first["changed_paths"]) == (0, True, paths)
    assert first["diff"] == foretold["diff"]
    assert (tmp_path / "d/b").read_text(encoding="utf-8") == SECRET

    rc, second, _text = run(*entries, validate=validate)
    assert (rc, second["changed"], second["changed_paths"], second["diff"]) == (0, False, [], [])


def test_no_diff_unless_asked_for(run: Run, tmp_path: Path) -> None:
    _rc, result, _text = run({"path": f"{tmp_path}/a", "content": ""}, _ansible_diff=False)
    assert (result["changed"], result["diff"]) == (True, [])


def test_it_returns_what_it_documents(run: Run, tmp_path: Path) -> None:
    _rc, result, _text = run({"path": f"{tmp_path}/a", "content": ""})
    assert set(result) - {"changed", "diff", "invocation"} == set(yaml.safe_load(files.RETURN))


def test_it_takes_what_it_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    class Taken(Exception):
        pass

    def module(argument_spec: dict[str, Any], supports_check_mode: bool) -> None:
        assert supports_check_mode
        raise Taken(argument_spec)

    def bare(options: dict[str, Any]) -> dict[str, Any]:
        """Leave out what is said to people, and what to hide, which is not documented."""
        kept = {}
        for name, option in options.items():
            kept[name] = {key: value for key, value in option.items() if key not in ("description", "no_log")}
            for key in ("suboptions", "options"):
                if key in option:
                    kept[name].pop(key)
                    kept[name]["options"] = bare(option[key])
        return kept

    monkeypatch.setattr(files, "FilesModule", module)
    with pytest.raises(Taken) as taken:
        files.main()
    assert bare(taken.value.args[0]) == bare(yaml.safe_load(files.DOCUMENTATION)["options"])
    assert taken.value.args[0]["files"]["options"]["secret_content"]["no_log"] is True


@pytest.mark.parametrize("example", yaml.safe_load(files.EXAMPLES), ids=lambda example: example["name"])
def test_its_examples_make_sense(run: Run, example: dict[str, Any]) -> None:
    """In check mode; none of the users and few of the programs have to be there."""
    if "nous.vm.files" in example:
        arguments = example["nous.vm.files"]
        for entry in arguments["files"]:
            if entry.pop("template", None):
                unit = "[Timer]\nOnCalendar=daily\n" if ".timer" in entry["path"] else "[Service]\nExecStart=/bin/true\n"
                entry["content"] = unit
        made = {"path": "/etc/caddy", "state": "directory"}
        rc, result, text = run(*arguments["files"], made, validate=arguments["validate"], _ansible_check_mode=True)
        assert rc == 0, text
        assert {entry["path"] for entry in arguments["files"]} <= set(result["changed_paths"])


def test_modules_get_byte_code(monkeypatch: pytest.MonkeyPatch, run: Run, tmp_path: Path) -> None:
    """Also those that were there before; it is no change, and check mode says nothing of it."""
    asked: list[tuple[str, list[str]]] = []

    def compile_modules(*arguments: Any) -> str:
        asked.append(arguments)
        return "no byte code"

    monkeypatch.setattr(files, "compile_modules", compile_modules)
    entries = [{"path": f"{tmp_path}/a.py", "content": ""}]
    more = {"byte_compile": str(tmp_path)}
    run(*entries, **more, _ansible_check_mode=True)
    run(*entries)
    assert asked == []
    _rc, result, text = run(*entries, **more)
    assert (result["changed"], "no byte code" in text) == (False, True)
    run({"path": f"{tmp_path}/a.py", "content": "A = 1\n"}, **more)
    assert asked == [(str(tmp_path), []), (str(tmp_path), [f"{tmp_path}/a.py"])]


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (
            {"path": "/etc/x"},
            '/etc/x has neither content nor secret_content; a file has one of them, for example content: "".',
        ),
        (
            {"path": "/no/x", "content": ""},
            "/no/x lies in /no, which does not exist; add that to the set as a directory.",
        ),
        (
            {"path": "/etc/x", "content": "", "mode": 0o644},
            '/etc/x has the mode "420"; allowed are four octal digits in quotes',
        ),
        (
            {"path": "/etc/x", "content": "", "colour": "red"},
            "Unsupported parameters for (basic.py) module: files.colour.",
        ),
    ],
)
def test_rejected(run: Run, entry: dict[str, Any], sentence: str) -> None:
    rc, result, _text = run(entry)
    assert (rc, result["failed"]) == (1, True)
    assert result["msg"].startswith(sentence)


def test_a_validator_that_makes_no_sense_is_rejected(run: Run, tmp_path: Path) -> None:
    rc, result, _text = run({"path": f"{tmp_path}/a", "content": ""}, validate=[{"argv": ["true", "{/etc/x}"]}])
    assert (rc, result["msg"]) == (
        1, f"validate names {{/etc/x}}, which is no file of the set; allowed are {{{tmp_path}/a}}.",
    )  # fmt: skip


def test_warning(run: Run, tmp_path: Path) -> None:
    path = f"{tmp_path}/a"
    missing = [{"argv": ["no-such-program", f"{{{path}}}"]}]
    _rc, _result, text = run({"path": path, "content": ""}, validate=missing, _ansible_check_mode=True)
    assert "this host does not have the program no-such-program yet." in text


# ---- Secrets


def test_no_secret_is_printed_or_logged(run: Run, log: list[str], tmp_path: Path) -> None:
    """In any run, at the highest verbosity, whether it succeeds or fails."""
    path, other = f"{tmp_path}/a", f"{tmp_path}/b"
    entries = [{"path": path, "secret_content": SECRET}, {"path": other, "content": "text\n"}]
    tell = [{"argv": ["sh", "-c", 'cat "$1"; false', "sh", f"{{{path}}}"]}]
    more = {"_ansible_verbosity": 5}
    printed = [run(*entries, _ansible_check_mode=True, **more)]
    printed += [run(*entries, validate=tell, **more)]
    printed += [run(*entries, **more)]
    Path(path).write_text("PASSWORD=quux", encoding="utf-8")
    printed += [run(*entries, **more)]
    printed += [run(*entries, **more)]
    printed += [run({"path": path, "secret_content": SECRET, "content": ""}, **more)]
    printed += [run({"path": path, "secret_content": SECRET, "state": "directory"}, **more)]
    printed += [run({"path": path, "secret_content": SECRET, "mode": "420"}, **more)]
    printed += [run({"path": path, "secret_content": SECRET, "colour": "red"}, **more)]
    printed += [run({"path": path, "secret_content": SECRET + "\ud800"}, **more)]
    assert [rc for rc, _result, _text in printed] == [0, 1, 0, 0, 0, 1, 1, 1, 1, 1]
    assert [result.get("changed") for _rc, result, _text in printed[:5]] == [True, None, True, True, False]
    for _rc, result, text in printed:
        assert [part for part in PARTS if part in text] == []
        assert "invocation" in result
    assert [part for part in PARTS if part in "".join(log)] == []
    assert f"Invoked with {path} {other}" in log[0]


def test_ansible_core_alone_would_log_it(monkeypatch: pytest.MonkeyPatch, run: Run, log: list[str], tmp_path: Path) -> None:
    """Should this fail one day, FilesModule has nothing left to do."""
    monkeypatch.setattr(files, "FilesModule", basic.AnsibleModule)
    run({"path": f"{tmp_path}/a", "secret_content": SECRET})
    assert "hunter" in "".join(log)


@pytest.mark.parametrize("secret", ["a", "/", "text\n", "# Managed\n"])
def test_a_secret_that_is_part_of_what_is_public_masks_nothing(run: Run, secret: str, tmp_path: Path) -> None:
    """Tasks wait for paths in changed_paths, and a secrets file without secrets is but its first line."""
    entries = [
        {"path": f"{tmp_path}/a", "secret_content": secret},
        {"path": f"{tmp_path}/b", "content": "# Managed\ntext\n"},
    ]
    _rc, result, text = run(*entries)
    assert result["changed_paths"] == [f"{tmp_path}/a", f"{tmp_path}/b"]
    assert result["diff"][1]["after"] == "# Managed\ntext\n"
    given = result["invocation"]["module_args"]["files"]
    assert given[0]["secret_content"] == "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"
    assert Path(f"{tmp_path}/a").read_text(encoding="utf-8") == secret
    assert "********" not in text


def test_a_secret_is_masked_in_what_is_on_the_disk(run: Run, tmp_path: Path) -> None:
    """What ansible-core hides is hidden: the secret lay in a file that was public before."""
    Path(tmp_path / "b").write_text(f"x {SECRET}", encoding="utf-8")
    _rc, result, text = run({"path": f"{tmp_path}/a", "secret_content": SECRET}, {"path": f"{tmp_path}/b", "content": ""})
    assert result["diff"][1]["before"] == "x ********"
    assert "hunter" not in text


def test_no_secret_is_shown_by_a_playbook(tmp_path: Path) -> None:
    """A whole run with -vvvv --diff, in which the first task changes, the second does not and the third fails."""
    path = f"{tmp_path}/d/a"
    module = {
        "files": [
            {"path": f"{tmp_path}/d", "state": "directory", **ME},
            {"path": path, "secret_content": "{{ lookup('ansible.builtin.env', 'TOLD') }}", **ME},
        ],
        "validate": [{"argv": ["sh", "-c", 'cat "$1"; exit "$2"', "sh", f"{{{path}}}", "{{ item }}"]}],
    }
    tasks = [
        {"nous.vm.files": module, "vars": {"item": "0"}, "register": "written"},
        {"nous.vm.files": module, "vars": {"item": "1"}},
        {"ansible.builtin.debug": {"var": "written"}},
        {"ansible.builtin.file": {"path": path, "state": "absent"}},
        {"nous.vm.files": module, "vars": {"item": "1"}},
    ]
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(play), encoding="utf-8")
    collections = str(Path(files.__file__).parents[5])
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "ansible",
            "playbook",
            "-vvvv",
            "--diff",
            "-i",
            "localhost,",
            str(tmp_path / "play.yml"),
        ],
        env={
            **os.environ,
            "TOLD": SECRET,
            "ANSIBLE_COLLECTIONS_PATH": collections,
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "ANSIBLE_LOG_PATH": str(tmp_path / "log"),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr + (tmp_path / "log").read_text(encoding="utf-8")
    assert done.returncode == 2, output
    assert "was given a secret" in output
    assert "the requested secret" in output
    assert "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER" in output
    assert "ok=4" in output
    assert [part for part in PARTS if part in output] == []
