# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages are installed only if they lack; what others do meanwhile, or left behind, is waited for, completed or named.

dpkg, apt-get and systemd are stand-ins here; tests/packages has the real ones.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils import _packages as packages
from ansible_collections.nous.vm.plugins.module_utils._packages import PackagesError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import systemd
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed

Answer = Callable[[list[str]], Completed]


def printed(text: str, returncode: int = 0) -> Completed:
    return Completed(returncode, text.encode(), b"")


class Host:
    """What dpkg, apt-get and systemd know. ran: what was run. there: installed packages. units: units that are there."""

    def __init__(self) -> None:
        self.ran: list[list[str]] = []
        self.environments: list[dict[str, str]] = []
        self.there: set[str] = set()
        self.units: set[str] = set()
        self.states = "installed\n"
        self.update, self.dpkg = printed("Get:1\n"), printed("")
        self.installs: list[Completed] = []
        self.completes: set[str] = set()
        self.disabled: list[str] = []

    def run(self, argv: list[str], *, timeout: float, env: dict[str, str] | None = None, **_more: Any) -> Completed:
        assert timeout > 0
        self.ran.append(argv)
        self.environments.append(env or {})
        if argv[0] == "dpkg-query":
            return printed(self.states)
        if argv[0] == "dpkg":
            self.there |= self.completes
            return self.dpkg
        if "update" in argv:
            return self.update
        done = self.installs.pop(0) if self.installs else printed("")
        if done.returncode == 0:
            self.there |= {"caddy", "haproxy"}
            self.units |= {"haproxy.service"}
        return done

    def verbs(self) -> list[str]:
        return [next(word for word in argv if word in ("update", "install", "--configure")) for argv in self.ran if argv[0] != "dpkg-query"]


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    found = Host()
    monkeypatch.setattr(packages, "run", found.run)
    monkeypatch.setattr(packages, "installed", lambda names: {name: "1" for name in names if name in found.there})
    monkeypatch.setattr(systemd, "show", lambda unit, _name: {"LoadState": "loaded" if unit in found.units else "not-found"})
    monkeypatch.setattr(systemd, "ordered", lambda verb, unit: found.disabled.append(f"{verb} {unit}"))
    monkeypatch.setattr(packages, "LOCKS", (str(tmp_path / "lock"),))
    monkeypatch.setattr(packages, "JOURNAL", tmp_path / "updates")
    monkeypatch.setattr(packages, "POLICY", tmp_path / "policy-rc.d")
    monkeypatch.setattr(packages, "ASIDE", tmp_path / "policy-rc.d.nous-vm")
    monkeypatch.setattr(packages, "POLL", 0.01)
    return found


def test_nothing_is_run_for_what_is_there(host: Host) -> None:
    host.there = {"caddy"}
    assert packages.ensure(["caddy"], [], 0, check_mode=False) == packages.Outcome()
    assert host.ran == []


def test_check_mode_says_what_lacks(host: Host) -> None:
    assert packages.ensure(["caddy", "git"], [], 0, check_mode=True).installed == ["caddy", "git"]
    assert host.ran == []


def test_what_lacks_is_installed(host: Host, tmp_path: Path) -> None:
    host.there = {"git"}
    found = packages.ensure(["caddy", "git"], ["haproxy.service"], 0, check_mode=False)
    assert (found.installed, found.completed, found.warnings) == (["caddy"], False, [])
    assert host.verbs() == ["update", "install"]
    install = host.ran[-1]
    assert install[install.index("install") :] == ["install", "caddy"]
    assert {"--no-install-recommends", "--no-remove"} < set(install)
    assert host.environments[-1]["NEEDRESTART_SUSPEND"] == "1"
    assert host.disabled == ["disable haproxy.service"]
    assert not (tmp_path / "policy-rc.d").exists()


def test_a_unit_that_was_there_stays_as_it_is(host: Host) -> None:
    host.units = {"haproxy.service"}
    packages.ensure(["caddy"], ["haproxy.service", "nonesuch.service"], 0, check_mode=False)
    assert host.disabled == []


class TestRepositories:
    ERR = "Err:3 http://broken.example stable Release\nE: The repository 'http://broken.example stable Release' does not have a Release file.\nE: The other\n"

    def test_one_that_fails_is_a_warning_if_the_packages_come_from_another(self, host: Host) -> None:
        host.update = printed(self.ERR, 100)
        found = packages.ensure(["caddy"], [], 0, check_mode=False)
        assert found.warnings == [
            "apt-get update: The repository 'http://broken.example stable Release' does not have a Release file",
            "apt-get update: The other",
        ]

    def test_one_that_is_old_is_too(self, host: Host) -> None:
        host.update = printed("Hit:1\nErr:2 http://x\nW: Failed to fetch http://x\nW: Failed to fetch http://x\n")
        assert packages.ensure(["caddy"], [], 0, check_mode=False).warnings == ["apt-get update: Failed to fetch http://x"]

    def test_it_is_named_if_they_do_not(self, host: Host) -> None:
        host.update = printed(self.ERR, 100)
        host.installs = 2 * [printed("E: Unable to locate package caddy.\n", 100)]
        with pytest.raises(PackagesError) as error:
            packages.ensure(["caddy"], [], 0, check_mode=False)
        assert str(error.value) == (
            "caddy cannot be installed: Unable to locate package caddy; before, apt-get update printed: The repository 'http://broken.example stable "
            "Release' does not have a Release file; before, apt-get update printed: The other."
        )

        assert host.verbs() == ["update", "install", "update", "install"]

    def test_all_are_asked_with_patience_if_they_do_not(self, host: Host) -> None:
        host.update = printed(self.ERR, 100)
        host.installs = [printed("E: Unable to locate package caddy.\n", 100), printed("")]
        packages.ensure(["caddy"], [], 0, check_mode=False)
        quick, patient = (argv for argv in host.ran if "update" in argv)
        assert set(quick) - set(patient) == {"-o", "Acquire::Retries=0", "Acquire::http::Timeout=10", "Acquire::https::Timeout=10"}

    def test_a_program_that_is_killed(self, host: Host) -> None:
        host.installs = [Completed(124, b"", b"apt-get did not end within 3600 s")]
        with pytest.raises(PackagesError, match="caddy cannot be installed: apt-get did not end within 3600 s"):
            packages.ensure(["caddy"], [], 0, check_mode=False)

    def test_apt_get_that_succeeds_and_installs_nothing(self, host: Host) -> None:
        with pytest.raises(PackagesError, match="git cannot be installed: apt-get did not say why"):
            packages.ensure(["git"], [], 0, check_mode=False)


class TestInterrupted:
    def test_it_is_completed_first(self, host: Host, tmp_path: Path) -> None:
        (tmp_path / "updates").mkdir()
        (tmp_path / "updates/0001").touch()
        found = packages.ensure(["caddy"], [], 0, check_mode=False)
        assert (host.verbs(), found.completed) == (["--configure", "update", "install"], True)
        assert "--fix-broken" in host.ran[-1]

    def test_completing_may_be_all(self, host: Host) -> None:
        host.states, host.completes = "installed\nhalf-configured\n", {"caddy"}
        found = packages.ensure(["caddy"], [], 0, check_mode=False)
        assert (host.verbs(), found.installed, found.completed) == (["--configure"], ["caddy"], True)

    def test_what_cannot_be_completed_is_apt_s_to_mend(self, host: Host) -> None:
        host.states, host.dpkg = "unpacked\n", printed("dependency problems\n", 1)
        found = packages.ensure(["caddy"], [], 0, check_mode=False)
        assert found.warnings == ["dpkg was interrupted before, and dpkg --configure -a did not complete it: dependency problems"]

    def test_other_names_in_the_journal_are_none(self, host: Host, tmp_path: Path) -> None:
        (tmp_path / "updates").mkdir()
        (tmp_path / "updates/tmp.i").touch()
        packages.ensure(["caddy"], [], 0, check_mode=False)
        assert host.verbs() == ["update", "install"]


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A program that holds the lock until it is told to end."""
    script = f"import fcntl, sys; f = open({str(tmp_path / 'lock')!r}, 'w'); fcntl.lockf(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script, "upgrade"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        process.kill()


class TestLocks:
    def test_who_holds_it_is_named_when_the_time_is_over(self, host: Host, holder: subprocess.Popen[str], tmp_path: Path) -> None:
        begun = time.monotonic()
        with pytest.raises(PackagesError) as error:
            packages.ensure(["caddy"], [], 0.2, check_mode=False)
        assert time.monotonic() - begun >= 0.2
        assert str(error.value).startswith(f"{sys.executable} -c import fcntl")
        assert f" (pid {holder.pid}) holds {tmp_path}/lock, which was waited for 0 s (lock_timeout)" in str(error.value)
        assert not (tmp_path / "policy-rc.d").exists()

    def test_it_is_waited_for(self, host: Host, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch) -> None:
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            holder.communicate()

        monkeypatch.setattr(time, "sleep", sleep)
        assert packages.ensure(["caddy"], [], 60, check_mode=False).installed == ["caddy"]
        assert slept == [0.01]

    def test_one_that_is_taken_between_is_waited_for(self, host: Host) -> None:
        taken = printed("E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 7 (apt-get)\n", 100)
        host.installs = [taken, taken, printed("")]
        packages.ensure(["caddy"], [], 60, check_mode=False)
        assert host.verbs() == ["update", "install", "install", "install"]

    def test_a_holder_of_another_namespace(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "lock").touch()
        answer = struct.pack(packages.FLOCK, fcntl.F_WRLCK, 0, 0, 0, 0)
        monkeypatch.setattr(fcntl, "fcntl", lambda *_arguments: answer)
        assert packages.holder(str(tmp_path / "lock")) == "another program (pid 0)"

    def test_nobody_holds_what_is_free_or_not_there(self, tmp_path: Path) -> None:
        assert packages.holder(str(tmp_path / "none")) is None
        (tmp_path / "free").touch()
        assert packages.holder(str(tmp_path / "free")) is None


def call(policy: Path, **environment: str) -> int:
    return subprocess.run([policy, "haproxy", "start"], env={"PATH": os.environ["PATH"], **environment}, check=False).returncode


class TestPolicy:
    def test_services_are_kept_from_starting_for_one_run_alone(self, host: Host, tmp_path: Path) -> None:
        policy = tmp_path / "policy-rc.d"
        with packages.policy("abc"):
            assert call(policy, NOUS_VM_PACKAGES="abc") == 101
            assert call(policy, NOUS_VM_PACKAGES="other") == call(policy) == 0
        assert list(tmp_path.iterdir()) == []

    def test_one_that_is_there_goes_aside_and_is_asked_for_all_others(self, host: Host, tmp_path: Path) -> None:
        policy = tmp_path / "policy-rc.d"
        policy.write_text("#!/bin/sh\n[ $1 = haproxy ] && exit 104\n", encoding="utf-8")
        policy.chmod(0o755)
        with pytest.raises(KeyboardInterrupt), packages.policy("abc"):
            assert call(policy, NOUS_VM_PACKAGES="abc") == 101
            assert call(policy) == 104
            raise KeyboardInterrupt
        assert call(policy) == 104
        assert list(tmp_path.iterdir()) == [policy]

    def test_what_a_killed_run_left_goes(self, host: Host, tmp_path: Path) -> None:
        policy = tmp_path / "policy-rc.d"
        policy.write_text("#!/bin/sh\nexit 104\n", encoding="utf-8")
        policy.chmod(0o755)
        killed = packages.policy("killed")
        killed.__enter__()
        assert call(policy) == 104
        with packages.policy("abc"):
            assert (call(policy), call(policy, NOUS_VM_PACKAGES="killed"), call(policy, NOUS_VM_PACKAGES="abc")) == (104, 104, 101)
        assert call(policy) == 104
        assert list(tmp_path.iterdir()) == [policy]
