# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nous-vm: it finds the commands that are on the host, runs one, and ends with one of the documented exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import cli

SOURCE = Path(cli.__file__).parent
COMMANDS = {
    "commands/good.py": '''"""Does what is asked.

More about it.
"""
from ..cli import Result
EXAMPLE = "sudo nous-vm good --number 3"
def arguments(parser):
    parser.add_argument("--number", type=int, default=1, help="a number")
    parser.add_argument("--hidden", help=__import__("argparse").SUPPRESS)
def run(arguments):
    return Result({"number": arguments.number}, f"number {arguments.number}", 0)
''',
    "commands/of_a_unit.py": '"""Is for a unit. Not for a person."""\nINTERNAL = True\n',
    "commands/support_bundle.py": '"""Packs."""\nfrom ..cli import Result\ndef run(_arguments):\n    return Result({}, "packed")\n',
    "commands/bad.py": '"""Fails."""\nfrom ..cli import Result\ndef run(_arguments):\n    return Result({"message": "no"}, "", 1)\n',
    "commands/quick.py": '"""Is quick."""\nfrom ..cli import Result\ndef quick():\n    return 3\ndef run(_arguments):\n    return Result({}, "slow")\n',
    "room/commands/raises.py": '''"""Raises."""
from ...errors import InterruptedWork, LockedError, NousVmError
KINDS = {"failed": NousVmError("it failed"), "interrupted": InterruptedWork("cut"), "locked": LockedError("held"),
         "system": PermissionError(13, "Denied", "/x"), "key": KeyboardInterrupt(), "bug": ZeroDivisionError("bug")}
def arguments(parser):
    parser.add_argument("kind")
def run(arguments):
    raise KINDS[arguments.kind]
''',
    "room/commands/audit_rotate.py": '"""Rotates the log."""\nfrom ...cli import Result\ndef run(_arguments):\n    return Result({}, "rotated")\n',
    "room/commands/audit_status.py": '"""Tells the state."""\n',
    "room/commands/audit_freezer.py": '"""Freezes."""\nINTERNAL = True\n',
    "room/commands/first_boot.py": '"""Boots."""\n',
    "room/commands/_private.py": '"""Is no command."""\n',
}


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The launcher of a package that has these commands."""
    package = tmp_path / "nous_vm"
    (package / "commands").mkdir(parents=True)
    (package / "room/commands").mkdir(parents=True)
    for name in ("cli.py", "errors.py", "output.py", "foreign.py", "commands/complete.py"):
        (package / name).write_bytes((SOURCE / name).read_bytes())
    for name, content in COMMANDS.items():
        (package / name).write_text(content, encoding="utf-8")
    for name in ("__init__.py", "commands/__init__.py", "room/__init__.py", "room/commands/__init__.py"):
        (package / name).touch()
    launcher = tmp_path / "launcher"
    launcher.write_text(f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nfrom nous_vm.cli import main\nsys.exit(main())\n", encoding="utf-8")
    return launcher


def run(installed: Path, *words: str, **options: object) -> tuple[int, str, str]:
    done = subprocess.run([sys.executable, "-I", installed, *words], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    return done.returncode, done.stdout, done.stderr


def test_commands_that_are_here(installed: Path) -> None:
    code, out, err = run(installed, "--help")
    assert (code, err) == (0, "")
    listed = [line.split("  ")[1] for line in out.splitlines() if line.startswith("  ")]
    others = "  complete, of a unit, audit freezer"
    assert listed == ["bad", "good", "quick", "support-bundle", "audit rotate", "audit status", "first-boot", "raises", others.strip()]
    assert "  good            Does what is asked\n" in out
    assert f"\nrun by units, playbooks and the commands above:\n{others}\n\nexit codes" in out
    assert "exit codes: 0 done" in out
    assert run(installed, "-h") == run(installed, "help") == (0, out, "")


def test_without_a_command_it_is_a_wrong_call(installed: Path) -> None:
    code, out, _err = run(installed)
    assert code == 2
    assert "usage: nous-vm COMMAND" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing"], "nous-vm nothing: there is no command 'nothing'; there are: bad, good, "),
        (["\x1b[31m"], "nous-vm \\x1b[31m: there is no command '\\x1b[31m'; there are: bad, "),
        (["audit"], "nous-vm audit: nous-vm audit needs one more word; there are: audit rotate, audit status\n"),
        (["audit", "x"], "nous-vm audit: nous-vm audit needs one more word; there are: "),
        (["_private"], "nous-vm _private: there is no command"),
        (["good", "--number", "x"], "nous-vm good: argument --number: invalid int value: 'x'; nous-vm good --help shows what is allowed\n"),
        (["good", "x"], "nous-vm good: unrecognized arguments: x; "),
        (["raises"], "nous-vm raises: the following arguments are required: kind; "),
    ],
)
def test_a_wrong_call(installed: Path, words: list[str], message: str) -> None:
    code, out, err = run(installed, *words)
    assert (code, out) == (2, "")
    assert err.startswith(message)
    code, out, err = run(installed, *words, "--json")
    assert code == 2
    assert err.startswith(message.partition(":")[0])
    assert json.loads(out)["message"]


def test_help_of_a_command(installed: Path) -> None:
    code, out, err = run(installed, "good", "--help")
    assert (code, err) == (0, "")
    for part in ("usage: nous-vm good", "Does what is asked.", "More about it.", "--number", "example: sudo nous-vm good --number 3\n", "exit codes: "):
        assert part in out
    assert "example: sudo nous-vm bad\n" in run(installed, "bad", "--help")[1]


def test_help_of_a_group(installed: Path) -> None:
    code, out, _err = run(installed, "audit", "--help")
    assert code == 0
    assert "  audit rotate  Rotates the log\n  audit status  Tells the state\n\nrun by units, playbooks and the commands above:\n  audit freezer\n" in out
    assert "quick" not in out


def test_what_came_of_it(installed: Path) -> None:
    assert run(installed, "good", "--number", "3") == (0, "number 3\n", "")
    assert run(installed, "good", "--json") == (0, '{\n  "number": 1\n}\n', "")
    assert run(installed, "audit", "rotate") == (0, "rotated\n", "")
    assert run(installed, "bad") == (1, "", "")
    assert json.loads(run(installed, "bad", "--json")[1]) == {"message": "no"}


def test_a_quick_command_has_no_parser_unless_it_is_given_something(installed: Path) -> None:
    assert run(installed, "quick") == (3, "", "")
    assert run(installed, "quick", "--json")[0] == 0


@pytest.mark.parametrize(
    ("kind", "code", "message"),
    [
        ("failed", 1, "it failed"),
        ("interrupted", 3, "cut"),
        ("locked", 4, "held"),
        ("system", 1, "[Errno 13] Denied: '/x'"),
    ],
)
def test_failures_have_exit_codes_and_one_sentence(installed: Path, kind: str, code: int, message: str) -> None:
    assert run(installed, "raises", kind) == (code, "", f"nous-vm raises: {message}\n")
    ended, out, err = run(installed, "raises", kind, "--json")
    assert (ended, json.loads(out), err) == (code, {"message": message}, f"nous-vm raises: {message}\n")


def test_an_interruption_is_no_traceback(installed: Path) -> None:
    assert run(installed, "raises", "key") == (130, "", "nous-vm raises: interrupted\n")


def test_a_bug_is_a_traceback(installed: Path) -> None:
    code, _out, err = run(installed, "raises", "bug")
    assert (code, err.splitlines()[-1]) == (1, "ZeroDivisionError: bug")


def test_a_reader_that_has_seen_enough(installed: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run([sys.executable, "-I", installed, "--help"], stdout=theirs, stderr=subprocess.PIPE, check=False)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (1, b"")


def test_a_terminal_that_knows_few_characters(installed: Path) -> None:
    path = installed.parent / "nous_vm/commands/bad.py"
    path.write_text(path.read_text(encoding="utf-8").replace(', "", 1)', ', "é€", 1)'), encoding="utf-8")
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, installed, "bad"], env=environment, capture_output=True, check=False)
    assert (done.stdout, done.returncode) == (b"\\xe9\\u20ac\n", 1)


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ([], ["audit", "bad", "first-boot", "good", "quick", "raises", "support-bundle"]),
        ([""], ["audit", "bad", "first-boot", "good", "quick", "raises", "support-bundle"]),
        (["au"], ["audit"]),
        (["audit", ""], ["rotate", "status"]),
        (["audit", "r"], ["rotate"]),
        (["good", ""], ["--json", "--number"]),
        (["good", "--n"], ["--number"]),
        (["audit", "rotate", "--"], ["--json"]),
        (["nothing", ""], []),
    ],
)
def test_completion(installed: Path, words: list[str], completed: list[str]) -> None:
    code, out, _err = run(installed, "complete", "--", *words)
    assert (code, out.split()) == (0, completed)
    assert json.loads(run(installed, "complete", "--json", "--", *words)[1]) == {"words": completed}


# ---- In this process, on the commands that every host has


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.setattr(cli, "HERE", tmp_path)
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands/history.py").write_text('"""Shows."""', encoding="utf-8")
    return cli


def test_main(here: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible_collections.nous.vm.plugins.module_utils.nous_vm.commands import history

    monkeypatch.setattr(sys.stdout, "reconfigure", lambda **_options: None, raising=False)
    monkeypatch.setattr(history, "history", lambda _count: [])
    assert here.main(["history"]) == 0
    assert capsys.readouterr().out == "nothing was recorded yet\n"
    assert here.main(["history", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"events": []}
    assert here.main(["history", "--count", "0"]) == 2
    assert here.main(["history", "extra"]) == 2
    monkeypatch.setattr(history, "run", lambda _arguments: cli.Result({}))
    assert here.main(["history"]) == 0
    assert capsys.readouterr().out == ""
    assert here.main(["none"]) == 2
    assert here.main(["--help"]) == 0
    monkeypatch.setattr(sys, "argv", ["nous-vm"])
    assert here.main() == 2
    monkeypatch.setattr(history, "quick", lambda: 7, raising=False)
    assert here.main(["history"]) == 7

    def stop() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(history, "quick", stop)
    assert here.main(["history"]) == 130


def test_main_of_a_group(here: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "reconfigure", lambda **_options: None, raising=False)
    Path(here.HERE, "commands/audit_rotate.py").write_text('"""Rotates."""', encoding="utf-8")
    assert here.main(["audit", "--help"]) == 0
    assert "  audit rotate  Rotates\n" in capsys.readouterr().out
    assert here.main(["audit"]) == 2
    assert "needs one more word" in capsys.readouterr().err


def test_main_whose_reader_is_gone(here: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_arguments: object) -> None:
        raise BrokenPipeError

    class Output:
        reconfigure = write = flush = staticmethod(lambda *_arguments, **_options: 0)
        fileno = staticmethod(lambda: 99)

    moved: list[int] = []
    monkeypatch.setattr(sys, "stdout", Output)
    monkeypatch.setattr(os, "dup2", lambda _from, to: moved.append(to))
    monkeypatch.setattr(here, "overview", gone)
    assert here.main(["--help"]) == 1
    assert moved == [99]
