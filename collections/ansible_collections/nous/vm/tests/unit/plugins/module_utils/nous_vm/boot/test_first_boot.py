# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The first boot: what is done is not done again, what fails has one printable line, and no secret stays."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.boot import first_boot
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.boot.commands import first_boot as command

LINE = "nous-vm-first-boot: packages: no room (attempt 1 of 12; ...)"
GENERIC = "('scripts_user', RuntimeError('Runparts: 1 failures (runcmd) in 1 attempted commands'))"
FAILED = "Failed to run module scripts-user (scripts in /var/lib/cloud/instance/scripts)"
LOCK = f"ansible-core==2.21.5 --hash=sha256:{'0' * 64}\njinja2==3.1.6 --hash=sha256:{'1' * 64}\n"
PROGRAMS = ("apt-get", "dpkg", "dpkg-query", "systemctl", "systemd-run")


class Boot:
    """A new VM below a folder of the test's own, with programs that note how they were called."""

    def __init__(self, root: Path) -> None:
        self.root, self.config = root, root / "first-boot.json"
        self.bin = root / "bin"
        self.bin.mkdir()
        for name in PROGRAMS:
            self.program(name)
        self.write()

    def program(self, name: str, script: str = "", folder: Path | None = None) -> None:
        path = (folder or self.bin) / name
        path.write_text(f'#!/bin/sh\nprintf "%s " "{name}" "$@" | tr "\\n" " " >> {self.root}/calls; echo >> {self.root}/calls\n{script}\n', encoding="utf-8")
        path.chmod(0o755)

    def write(self, **changes: Any) -> None:
        about = {"packages": ["git"], "python": str(self.bin / "python"), "ansible_lock": LOCK, "collection": "nous.vm:==1.0.0", "collection_sha256": ""}
        more = {"files": [], "secrets_command": [], "environment": {"A": "b"}}
        self.config.write_text(json.dumps(about | more | changes), encoding="utf-8")

    def ready_to_install(self) -> None:
        """Let the interpreter make an environment in which all programs succeed."""
        venv = first_boot.BIN
        script = f"mkdir -p {venv}; for name in pip ansible-galaxy ansible-playbook; do cp {self.bin}/generic {venv}/$name; done"
        self.program("python", script)
        self.program(
            "generic", 'case "$*" in *--extra-vars*) cat "${5#@}" > ' + f"{self.root}/given-secrets;; esac; test ! -e {self.root}/fails-$(basename $0)"
        )

    def calls(self) -> list[str]:
        path = self.root / "calls"
        return [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


@pytest.fixture(autouse=True)
def boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Boot:
    work = tmp_path / "work"
    work.mkdir()
    for name, path in (
        *(("CONFIG", "first-boot.json"), ("INVENTORY", "first-boot.yml"), ("DONE", "done/first-boot.done"), ("WORK", "work"), ("BIN", "work/ansible/bin")),
        *(("COLLECTIONS", "work/collections"), ("SECRETS", "secrets"), ("MOTD", "motd.d/nous-vm"), ("STATUS", "status.json")),
    ):
        monkeypatch.setattr(first_boot, name, tmp_path / path)
    monkeypatch.setattr(os, "sync", lambda: None)
    monkeypatch.setattr(signal, "signal", lambda *_arguments: None)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    for name in ("HOME", "ANSIBLE_COLLECTIONS_PATH", "ANSIBLE_NOCOLOR", "DEBIAN_FRONTEND", "A"):
        monkeypatch.setenv(name, "before")
    return Boot(tmp_path)


def test_it_needs_nothing_but_the_standard_library() -> None:
    """It is a part of user-data, and runs before the package is on the host."""
    done = subprocess.run([sys.executable, "-I", first_boot.__file__, "--help"], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        pytest.param(["E: Unable to locate package x\n", "\n"], "Unable to locate package x", id="apt"),
        pytest.param(
            ["WARNING: Retrying after connection broken by 'Connection refused'\n", "ERROR: No matching distribution found for x\n"],
            "No matching distribution found for x (Connection refused)",
            id="pip-without-a-network",
        ),
        pytest.param(["fatal: repository 'x' not found\n", "[ERROR]: Failed to clone x\n"], "Failed to clone x", id="galaxy"),
        pytest.param(['fatal: [nous]: FAILED! => {"changed": false, "msg": "one\\n  sentence"}\n', "PLAY RECAP\n"], "one sentence", id="ansible"),
        pytest.param(["something\n", " \n"], "something", id="last-line"),
        pytest.param([], "it printed nothing", id="nothing"),
    ],
)
def test_the_cause_is_one_line(lines: list[str], cause: str) -> None:
    assert first_boot.cause(lines) == cause


def status(errors: list[str], recoverable: dict[str, list[str]]) -> str:
    return json.dumps({"v1": {"datasource": "NoCloud", "modules-final": {"errors": errors, "recoverable_errors": recoverable, "start": 1.0}}})


def test_the_line_takes_the_place_of_what_cloud_init_says_of_the_same() -> None:
    first_boot.STATUS.write_text(status(["another", GENERIC], {"WARNING": [FAILED, "deprecated"], "ERROR": [FAILED]}), encoding="utf-8")
    first_boot.record(LINE)
    first_boot.record(LINE)
    assert first_boot.STATUS.read_text(encoding="utf-8") == status(["another", LINE], {"WARNING": ["deprecated"]})
    first_boot.record("")
    assert first_boot.STATUS.read_text(encoding="utf-8") == status(["another"], {"WARNING": ["deprecated"]})


@pytest.mark.parametrize("content", [None, "{", "{}"], ids=["no file", "no JSON", "nothing in it"])
def test_whatever_goes_wrong_is_reported_and_counted(boot: Boot, monkeypatch: pytest.MonkeyPatch, content: str | None) -> None:
    reported: list[str] = []
    monkeypatch.setattr(first_boot, "report", reported.append)
    boot.config.unlink()
    if content is not None:
        boot.config.write_text(content, encoding="utf-8")
    first_boot.SECRETS.write_text("left by a run that was killed", encoding="utf-8")
    assert first_boot.main([]) == 1
    assert len(reported) == 1
    assert reported[0].startswith("nous-vm-first-boot: ")
    assert "(attempt 1 of 12; it is tried again soon, or now with: sudo systemctl restart nous-vm-first-boot)" in reported[0]
    assert reported[0].isprintable()
    assert not first_boot.SECRETS.exists()


def test_the_last_attempt_gives_up_until_the_next_boot(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[str] = []
    monkeypatch.setattr(first_boot, "report", reported.append)
    boot.program("systemctl", "echo 11")
    boot.program("dpkg-query", "exit 1")
    boot.program("apt-get", "echo 'E: no \033[31mroom' >&2; exit 100")
    assert first_boot.main([]) == first_boot.GIVEN_UP
    assert reported == [
        "nous-vm-first-boot: package lists: no \\x1b[31mroom (attempt 12 of 12; it is tried again at the next boot, "
        "or now with: sudo systemctl restart nous-vm-first-boot)"
    ]


def test_without_cloud_init_nothing_is_recorded() -> None:
    first_boot.record(LINE)
    assert not first_boot.STATUS.exists()


def test_only_the_file_that_was_meant_gets_its_name(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "folder/target.tar.gz"
    source.write_bytes(b"meant")
    meant = hashlib.sha256(b"meant").hexdigest()
    with pytest.raises(first_boot.StepError, match=f"its SHA-256 is {meant}, not {'0' * 64}"):
        first_boot.fetch(source.as_uri(), "0" * 64, target)
    assert not target.exists()
    first_boot.fetch(source.as_uri(), meant, target)
    assert target.read_bytes() == b"meant"
    source.unlink()
    first_boot.fetch(source.as_uri(), meant, target)
    target.write_bytes(b"torn")
    with pytest.raises(first_boot.StepError, match="No such file"):
        first_boot.fetch(source.as_uri(), meant, target)


def test_a_command_that_fails_says_why() -> None:
    with pytest.raises(first_boot.StepError, match=r"^a step: no room$"):
        first_boot.run("a step", "sh", "-c", "echo error: no room >&2; echo more; exit 3")


def test_output_that_is_let_through_is_printable(capsys: pytest.CaptureFixture[str]) -> None:
    first_boot.run("a step", "printf", "\\033]0;x\\n%s\\n" % ("y" * 5000))
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == ["== a step", "\\x1b]0;x"]
    assert max(map(len, printed)) <= first_boot.LINE


@pytest.mark.parametrize(("text", "shown"), [("a\n\x1b[31m\x9b\u202e", "a \\x1b[31m\\x9b\\u202e"), ("x" * 100, "x" * 60)])
def test_printable(text: str, shown: str) -> None:
    assert first_boot.printable(text, 60) == shown


# ---- Downloads


class Slow(io.BytesIO):
    """An answer that takes its time."""

    def read1(self, size: int | None = -1, /) -> bytes:
        time.sleep(0.02)
        return super().read1(1)


@pytest.mark.parametrize(("limit", "answer"), [("DOWNLOAD", io.BytesIO(b"x" * 100)), ("DOWNLOAD_TIME", Slow(b"x" * 100_000))])
def test_a_download_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, answer: BinaryIO) -> None:
    class Opener:
        open = staticmethod(lambda _url, timeout: answer)

    monkeypatch.setattr("urllib.request.build_opener", Opener)
    monkeypatch.setattr(first_boot, limit, 0.2)
    with pytest.raises(first_boot.StepError, match=r"^http://x: it has more than \S+ bytes or takes longer than \S+ s$"):
        first_boot.fetch("http://x", "0" * 64, tmp_path / "file")
    assert not (tmp_path / "file").exists()


# ---- All of it


LOCKS = {
    "dpkg": "dpkg: error: dpkg frontend lock was locked by another process with pid 7\nNote: removing the lock file is always wrong, and can damage the system",
    "apt-get": "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)\nE: Unable to lock directory /var/lib/apt/lists/",
}


@pytest.mark.parametrize("name", LOCKS)
def test_whoever_holds_a_lock_is_waited_for(boot: Boot, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(first_boot, "LOCK_POLL", 0.0)
    boot.program(name, f"[ $(grep -c '^{name} ' {boot.root}/calls) -gt 3 ] || {{ echo '{LOCKS[name]}' >&2; exit 100; }}")
    first_boot.install_packages(["git"])
    assert boot.calls() == ["dpkg-query", *["dpkg"] * (4 if name == "dpkg" else 1), *["apt-get"] * (5 if name == "apt-get" else 2)]


def test_nobody_is_waited_for_for_ever(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_boot, "LOCK_TIME", -1.0)
    boot.program("apt-get", f"echo '{LOCKS['apt-get']}' >&2; exit 100")
    with pytest.raises(first_boot.StepError, match="package lists: Unable to lock directory"):
        first_boot.install_packages(["git"])
    assert boot.calls() == ["dpkg-query", "dpkg", "apt-get"]


def test_what_dpkg_cannot_complete_is_left_to_apt(boot: Boot) -> None:
    boot.program("dpkg", "echo 'dpkg: error processing package x' >&2; exit 1")
    first_boot.install_packages(["git"])
    assert "--fix-broken git" in (boot.root / "calls").read_text(encoding="utf-8").splitlines()[-1]


def test_from_a_bare_host_to_one_that_is_ready(boot: Boot, tmp_path: Path) -> None:
    boot.ready_to_install()
    (tmp_path / "archive").write_bytes(b"archive")
    file = {"url": (tmp_path / "archive").as_uri(), "sha256": hashlib.sha256(b"archive").hexdigest(), "path": str(tmp_path / "there/archive")}
    boot.write(files=[file])
    assert first_boot.main([]) == 0
    # generic stands for pip, ansible-galaxy and ansible-playbook.
    assert boot.calls() == ["systemctl", "dpkg-query", "dpkg", "apt-get", "apt-get", "python", "generic", "generic", "generic", "systemctl", "systemd-run"]
    assert first_boot.DONE.exists()
    assert not first_boot.WORK.exists()
    assert (tmp_path / "there/archive").read_bytes() == b"archive"
    assert os.environ["A"] == "b"


def test_what_is_complete_is_not_done_again(boot: Boot) -> None:
    boot.ready_to_install()
    boot.program("dpkg-query", "echo git installed")
    (boot.root / "fails-ansible-playbook").touch()
    assert first_boot.main([]) == 1
    (boot.root / "calls").unlink()
    (boot.root / "fails-ansible-playbook").unlink()
    assert first_boot.main([]) == 0
    assert boot.calls() == ["systemctl", "dpkg-query", "generic", "systemctl", "systemd-run"]


def test_a_collection_by_its_checksum(boot: Boot, tmp_path: Path) -> None:
    boot.ready_to_install()
    (tmp_path / "c.tar.gz").write_bytes(b"collection")
    boot.write(collection=(tmp_path / "c.tar.gz").as_uri(), collection_sha256=hashlib.sha256(b"collection").hexdigest())
    assert first_boot.main([]) == 0
    assert f"--collections-path {first_boot.COLLECTIONS} {first_boot.WORK}/nous-vm.tar.gz" in (boot.root / "calls").read_text(encoding="utf-8")


def test_secrets_are_there_only_while_the_playbook_runs(boot: Boot) -> None:
    boot.ready_to_install()
    boot.write(secrets_command=["printf", "very-secret"])
    assert first_boot.main([]) == 0
    assert (boot.root / "given-secrets").read_text(encoding="utf-8") == "very-secret"
    assert not first_boot.SECRETS.exists()


@pytest.mark.parametrize(("secrets", "why"), [(["false"], "ended with exit code 1"), (["sleep", "60"], "sleep did not end within 0.2 s")])
def test_secrets_that_cannot_be_had(boot: Boot, monkeypatch: pytest.MonkeyPatch, secrets: list[str], why: str) -> None:
    boot.ready_to_install()
    boot.write(secrets_command=secrets)
    monkeypatch.setattr(first_boot, "SECRETS_TIME", 0.2)
    assert first_boot.main([]) == 1
    assert why in first_boot.MOTD.read_text(encoding="utf-8")


def test_a_host_that_is_not_ready(boot: Boot) -> None:
    boot.ready_to_install()
    first_boot.MOTD.parent.mkdir()
    first_boot.MOTD.write_text("nous at x is NOT ready: \x1b[31m\n", encoding="utf-8")
    boot.program("systemctl", 'test "$1" != start')
    assert first_boot.main([]) == 1
    assert first_boot.MOTD.read_text(encoding="utf-8").startswith("nous-vm-first-boot: nous at x is NOT ready: \\x1b[31m (attempt 1 of 12; ")
    assert not first_boot.DONE.exists()


def test_the_line_is_recorded_by_a_unit_of_its_own(boot: Boot) -> None:
    first_boot.report(LINE)
    assert f"-I {first_boot.__file__} --record={LINE}" in (boot.root / "calls").read_text(encoding="utf-8")
    first_boot.STATUS.write_text(status([], {}), encoding="utf-8")
    assert first_boot.main([f"--record={LINE}"]) == 0
    assert first_boot.STATUS.read_text(encoding="utf-8") == status([LINE], {})


def test_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for code in (0, 1, first_boot.GIVEN_UP):
        monkeypatch.setattr(first_boot, "main", lambda _words, code=code: code)
        result = command.run(argparse.Namespace())
        assert (result.code, bool(result.document["message"])) == (code, True)
