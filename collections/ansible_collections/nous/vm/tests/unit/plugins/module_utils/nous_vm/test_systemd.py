# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of systemd: by a systemctl that is written here, and by the real one in the suites that have a host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import systemd
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed


@pytest.fixture
def prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of programs; what its file NAME.out holds, the program NAME prints, and notes its arguments in NAME.args."""
    for name in ("systemctl", "journalctl", "systemd-run"):
        path = tmp_path / name
        path.write_text(f'#!/bin/sh\necho "$@" >> {path}.args\ncat {path}.out\necho complaint >&2\ntest ! -e {path}.fails\n', encoding="utf-8")
        path.chmod(0o755)
        (tmp_path / f"{name}.out").touch()
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path


def answer(prints: Path, text: str, name: str = "systemctl") -> None:
    (prints / f"{name}.out").write_text(text, encoding="utf-8")


def arguments(prints: Path, name: str = "systemctl") -> str:
    return (prints / f"{name}.args").read_text(encoding="utf-8").splitlines()[-1]


def test_systemctl(prints: Path) -> None:
    answer(prints, " done \n")
    assert systemd.systemctl("stop", "x.service") == "done"
    assert arguments(prints) == "stop x.service"


def test_ordered(prints: Path) -> None:
    systemd.ordered("start", "x.service")
    (prints / "systemctl.fails").touch()
    with pytest.raises(NousVmError, match=r"^systemctl start x\.service failed: complaint$"):
        systemd.ordered("start", "x.service")


def test_show(prints: Path) -> None:
    answer(prints, "ActiveState=active\nExecStart={ a=b }\nnoise\n")
    assert systemd.show("x.service", "ActiveState", "ExecStart") == {"ActiveState": "active", "ExecStart": "{ a=b }"}
    assert arguments(prints) == "show --property=ActiveState,ExecStart x.service"


def test_show_all(prints: Path) -> None:
    assert systemd.show_all([], "A") == {}
    answer(prints, "A=1\n\nA=2\n")
    assert systemd.show_all(["x", "y"], "A") == {"x": {"A": "1"}, "y": {"A": "2"}}
    with pytest.raises(NousVmError, match="answers for 2 of 3 units: complaint"):
        systemd.show_all(["x", "y", "z"], "A")
    answer(prints, "")
    with pytest.raises(NousVmError, match="answers for 0 of 1 units"):
        systemd.show("x", "A")


def test_is_active(prints: Path) -> None:
    for state, active in (("active", True), ("activating", False), ("", False)):
        answer(prints, f"{state}\n")
        assert systemd.is_active("x.service") is active


def test_journal_is_printable(prints: Path) -> None:
    answer(prints, "one\n\x1b[31mtwo\n", "journalctl")
    assert systemd.journal("--unit=x.service", since=12.5) == ["one", "\\x1b[31mtwo"]
    assert arguments(prints, "journalctl").endswith("--lines=12 --since=@12.5 --unit=x.service")
    systemd.journal(lines=3)
    assert "--since" not in arguments(prints, "journalctl")


def test_a_unit_of_its_own(prints: Path) -> None:
    made = systemd.transient("x", ["A=b"], [Path("/bin/true"), "y"], options=["--slice=z"], environment={"K": "v"})
    assert made[0] == "systemd-run"
    assert made[-6:] == ["--unit=x", "--slice=z", "--setenv=K=v", "--property=A=b", "/bin/true", "y"]
    assert not [each for each in systemd.transient("", [], ["true"]) if each.startswith("--unit")]
    answer(prints, "out", "systemd-run")
    assert systemd.in_unit("x", ["A=b"], ["true"], timeout=5, stdin=b"").text == "out"
    assert arguments(prints, "systemd-run").endswith("--unit=x --property=A=b --property=RuntimeMaxSec=5 true")


@pytest.mark.parametrize(("states", "code"), [(["loaded", "not-found"], 0), (["loaded"] * 9, 1)])
def test_a_name_that_systemd_has_not_let_go_of(monkeypatch: pytest.MonkeyPatch, states: list[str], code: int) -> None:
    """The unit before it has ended; if another one has the name, that is told."""
    taken = b"Failed to start transient service unit: Unit x.service was already loaded or has a fragment file.\n"
    given = iter(states)
    last = ["loaded"]

    def run(argv: list[str], **_options: object) -> Completed:
        if argv[0] == "systemctl":
            last[0] = next(given, last[0])
            return Completed(0, last[0].encode(), b"")
        return Completed(0, b"out", b"") if last == ["not-found"] else Completed(1, b"", taken)

    monkeypatch.setattr(systemd, "run", run)
    monkeypatch.setattr(systemd, "LET_GO", 0.05)
    assert systemd.in_unit("x.service", [], ["true"], timeout=5).returncode == code


def test_what_is_remembered_is_not_asked_again(prints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "_remembered", None)
    assert not systemd.is_remembered()
    answer(prints, "ActiveState=active\nType=oneshot\n")
    systemd.remember(["x.service"])
    assert systemd.is_remembered()
    answer(prints, "ActiveState=failed\nType=simple\n")
    assert systemd.show("x.service", "ActiveState", "Absent") == {"ActiveState": "active"}
    assert systemd.is_active("x.service")
    assert systemd.show_all(["x.service", "y.service"], "Type") == {"x.service": {"Type": "oneshot"}, "y.service": {"Type": "simple"}}
    assert arguments(prints) == "show y.service"
    monkeypatch.setattr(systemd, "_remembered", None)
    assert systemd.show("x.service", "ActiveState")["ActiveState"] == "failed"
