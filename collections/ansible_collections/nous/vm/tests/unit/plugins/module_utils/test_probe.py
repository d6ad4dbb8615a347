# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe answers each question by itself, by reading alone, within a limit of time."""

from __future__ import annotations

import grp
import os
import pwd
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils import _probe
from ansible_collections.nous.vm.plugins.module_utils._probe import answers, disk, system
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import inodes
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed

KEY = bytes(32)
ME = pwd.getpwuid(os.geteuid()).pw_name


class Programs:
    """Stands for programs.run. calls: what was run."""

    def __init__(self, *results: Completed) -> None:
        self.results, self.calls = list(results), []  # type: ignore[var-annotated]

    def __call__(self, argv: list[str], **_more: Any) -> Completed:
        self.calls.append(argv)
        return self.results.pop(0)


def printed(text: str, returncode: int = 0, stderr: str = "") -> Completed:
    return Completed(returncode, text.encode(), stderr.encode())


class TestAnswers:
    def test_each_question_by_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(_about: object) -> None:
            raise NousVmError("\x1b[2Jbroken")

        def silent(_about: object) -> None:
            raise ValueError

        monkeypatch.setitem(_probe.QUESTIONS, "units", broken)
        monkeypatch.setitem(_probe.QUESTIONS, "flags", silent)
        found = answers({"units": ["a"], "flags": [], "groups": ["nonesuch"], "colour": []}, KEY)
        assert found["failed"] == {"units": "\\x1b[2Jbroken", "flags": "ValueError", "colour": "unknown to this probe"}
        assert found["groups"] == {}
        assert {"platform", "paths"} < set(found)

    def test_one_is_answered_while_the_others_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        both = threading.Barrier(2, timeout=30)
        monkeypatch.setitem(_probe.QUESTIONS, "server", lambda about: (about, both.wait() >= 0))
        monkeypatch.setitem(_probe.QUESTIONS, "groups", lambda _about: both.wait() >= 0)
        found = answers({"server": {"root": "/opt/nous"}, "groups": []}, KEY)
        assert (found["server"], found["groups"], found["failed"]) == (({"root": "/opt/nous"}, True), True, {})

    def test_one_aside_that_breaks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(_about: object) -> None:
            raise NousVmError("\x1b[2Jbroken")

        monkeypatch.setitem(_probe.QUESTIONS, "server", broken)
        assert answers({"server": {}, "groups": []}, KEY)["failed"] == {"server": "\\x1b[2Jbroken"}

    @pytest.mark.parametrize("name", ["packages", "server"])
    def test_one_that_hangs_costs_its_own_time_alone(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        monkeypatch.setitem(_probe.QUESTIONS, name, lambda _about: time.sleep(60))
        begun = time.monotonic()
        found = answers({name: ["a"], "groups": []}, KEY, limit=1)
        assert found["failed"] == {name: "no answer within 1 s"}
        assert time.monotonic() - begun < 30
        assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL


class TestPlatform:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('ID=debian\nVERSION_CODENAME=trixie\nVERSION_ID="13"\n', ("Debian", "trixie", "13")),
            ('# comment=x\nID=ubuntu\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\nnonsense\n', ("Ubuntu", "noble", "24.04")),
            ("ID=fedora\nVERSION_ID=42\n", ("fedora", "", "42")),
            ("", ("an unknown system", "", "")),
        ],
    )
    def test_os_release(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, expected: tuple[str, ...]) -> None:
        (tmp_path / "real").write_text(text, encoding="utf-8")
        (tmp_path / "link").symlink_to("real")
        monkeypatch.setattr(system, "OS_RELEASE", str(tmp_path / "link"))
        found = system.platform()
        assert (found["distribution"], found["release"], found["version"]) == expected
        assert found["python"] == ".".join(map(str, sys.version_info[:3]))


class TestPackages:
    def test_those_that_are_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        text = "caddy\tcaddy:amd64\t2.6\tinstalled\nlibc6\tlibc6:amd64\t2.41\tinstalled\nlibc6\tlibc6:i386\t2.40\tinstalled\ngit\tgit:amd64\t\tconfig-files\n"
        programs = Programs(printed(text, 1, "dpkg-query: no packages found matching x"))
        monkeypatch.setattr(system, "run", programs)
        assert system.packages(["caddy", "libc6:i386", "git", "x"]) == {"caddy": "2.6", "libc6:i386": "2.40"}
        assert programs.calls[0][-4:] == ["caddy", "libc6:i386", "git", "x"]

    def test_a_host_without_dpkg_has_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(system, "run", Programs(printed("", 127)))
        assert system.packages(["caddy"]) == {}

    def test_nothing_is_asked_for_nothing(self) -> None:
        assert system.packages([]) == {}

    def test_a_dpkg_that_breaks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(system, "run", Programs(printed("", 2, "dpkg-query: error: broken")))
        with pytest.raises(NousVmError, match="dpkg-query failed: dpkg-query: error: broken"):
            system.packages(["caddy"])


def test_accounts_and_groups() -> None:
    assert system.accounts(["root", "nonesuch"]) == {"root": {"uid": 0, "gid": 0, "home": pwd.getpwuid(0).pw_dir, "shell": pwd.getpwuid(0).pw_shell}}
    assert system.groups(["root", "nonesuch"]) == {"root": 0}


class TestPorts:
    @pytest.fixture
    def held(self) -> Iterator[str]:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen()
            yield f"127.0.0.1:{server.getsockname()[1]}"

    def test_free_and_held(self, held: str, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[Any] = []

        def holders(ports: list[int], unit: str) -> dict[int, str]:
            asked.append((ports, unit))
            return {ports[0]: "nginx (pid 7)"}

        monkeypatch.setattr(system, "holders", holders)
        free = held.replace("127.0.0.1", "127.0.0.2")
        assert system.ports([{"address": held, "unit": "nous.service"}, {"address": free, "unit": ""}]) == {held: "nginx (pid 7)"}
        assert asked == [([int(held.split(":")[1])], "nous.service")]

    def test_what_the_unit_itself_holds_is_free_for_it(self, held: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(system, "holders", lambda _ports, _unit: {})
        assert system.ports([{"address": held, "unit": "nous.service"}]) == {}


class TestPythons:
    def test_versions(self, tmp_path: Path) -> None:
        (tmp_path / "old").write_text("#!/bin/sh\necho 3.9.2\n", encoding="utf-8")
        (tmp_path / "broken").write_text("#!/bin/sh\necho 3.9.2; exit 1\n", encoding="utf-8")
        (tmp_path / "other").write_text("#!/bin/sh\necho hello\n", encoding="utf-8")
        (tmp_path / "plain").write_text("", encoding="utf-8")
        for name in ("old", "broken", "other"):
            (tmp_path / name).chmod(0o755)
        paths = [sys.executable, *(str(tmp_path / name) for name in ("old", "broken", "other", "plain", "none")), str(tmp_path)]
        own = ".".join(map(str, sys.version_info[:3]))
        assert list(system.pythons(paths).values()) == [own, "3.9.2", None, None, None, None, None]


def test_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "show_all", lambda names, *properties: {name: dict.fromkeys(properties, "x") for name in names})
    assert system.units(["a.service"])["a.service"]["NeedDaemonReload"] == "x"


@pytest.mark.parametrize("other", [{}, {"ActiveState": "failed"}, {"UnitFileState": "disabled"}, {"NeedDaemonReload": "yes"}])
def test_a_unit_is_in_effect_if_it_runs_is_enabled_and_is_loaded_as_it_is_on_disk(monkeypatch: pytest.MonkeyPatch, other: dict[str, str]) -> None:
    about = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"} | other
    monkeypatch.setattr(system, "show_all", lambda names, *_properties: dict.fromkeys(names, about))
    assert system.units(["a.timer"]) == {"a.timer": about | {"in_effect": not other}}


def test_schedules(monkeypatch: pytest.MonkeyPatch) -> None:
    programs = Programs(printed("Next elapse"), printed("", 1, "Failed to parse calendar specification 'x': Invalid argument"))
    monkeypatch.setattr(system, "run", programs)
    assert system.calendars(["daily", "-x"]) == {"daily": "", "-x": "Failed to parse calendar specification 'x': Invalid argument"}
    assert programs.calls[1][-2:] == ["--", "-x"]


HOURLY = """  Original form: hourly
Normalized form: *-*-* *:00:00
    Next elapse: Fri 2026-11-27 23:00:00 UTC
       From now: 13min left
""" + "".join(f"   Iteration #{number}: Sat 2026-11-28 {number - 2:02}:00:00 CET\n       (in UTC): Fri\n" for number in range(2, 26))


def test_how_often_a_schedule_elapses_within_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "run", Programs(printed(HOURLY), printed("Next elapse: never"), printed("", 1, "Failed to parse")))
    assert system.elapses(["hourly", "2020-01-01", "x"]) == {"hourly": 24, "2020-01-01": 0, "x": 0}


class TestDisk:
    def test_what_is_there(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"a")
        (tmp_path / "f").chmod(0o640)
        (tmp_path / "l").symlink_to("f")
        os.mkfifo(tmp_path / "p")
        (tmp_path / "__pycache__").mkdir()
        (tmp_path / "__pycache__/m.pyc").touch()
        found = disk.paths([f"{tmp_path}/**", f"{tmp_path}/nonesuch", f"{tmp_path}/f"], KEY)
        assert {path.removeprefix(f"{tmp_path}"): about["kind"] for path, about in found.items()} == {
            "": "directory",
            "/f": "file",
            "/l": "link",
            "/p": "other",
        }
        assert found[f"{tmp_path}/f"] == {
            "kind": "file",
            "mode": "0640",
            "owner": ME,
            "group": found[str(tmp_path)]["group"],
            "uid": os.geteuid(),
            "gid": os.getegid(),
            "digest": disk.digest(str(tmp_path / "f"), KEY),
        }
        assert disk.digest(str(tmp_path / "f"), bytes([1])) != found[f"{tmp_path}/f"]["digest"]

    def test_numbers_without_names(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        def nobody(number: int) -> None:
            raise KeyError(number)

        monkeypatch.setattr(pwd, "getpwuid", nobody)
        monkeypatch.setattr(grp, "getgrgid", nobody)
        found = disk.described(str(tmp_path), KEY, "")
        assert (found["owner"], found["group"]) == (str(os.geteuid()), str(os.getegid()))

    def test_a_file_that_is_too_large_has_no_digest(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"ab")
        monkeypatch.setattr(disk, "MOST_CONTENT", 1)
        assert disk.digest(str(tmp_path / "f"), KEY) is None
        assert disk.digest(str(tmp_path / "g"), KEY) is None

    def test_too_many(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for number in range(4):
            (tmp_path / str(number)).touch()
        monkeypatch.setattr(disk, "MOST_PATHS", 3)
        with pytest.raises(NousVmError, match="more than 3 paths match"):
            disk.paths([f"{tmp_path}/*"], KEY)

    def test_what_a_killed_run_left(self, tmp_path: Path) -> None:
        (tmp_path / "f").touch()
        for name in (".f.0123456789abcdef.nous-vm", ".gone.0123456789abcdef.nous-vm", ".other.nous-vm"):
            (tmp_path / name).touch()
        found = disk.paths([f"{tmp_path}/f"], KEY)
        assert found[f"{tmp_path}/f"]["left"] is True
        assert found[f"{tmp_path}/gone"] == {"left": True}
        assert len(found) == 2

    def test_space_where_a_folder_will_be(self, tmp_path: Path) -> None:
        found = disk.space([str(tmp_path / "a/b"), "/"])
        assert found[str(tmp_path / "a/b")] > 0

    def test_matches(self, tmp_path: Path) -> None:
        (tmp_path / "uv-1").touch()
        assert disk.matches([f"{tmp_path}/uv-*", f"{tmp_path}/pip-*"]) == {f"{tmp_path}/uv-*": True, f"{tmp_path}/pip-*": False}

    def test_flags(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in ("log", "plain"):
            (tmp_path / name).touch()
        monkeypatch.setattr(inodes, "flags", lambda path: path.stat() and (0x30 if path.name == "log" else 0x10))
        found = disk.flags([str(tmp_path / name) for name in ("log", "plain", "none")])
        assert list(found.values()) == [True, False, False]
