# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The units of a build: what each may, and how root talks with it. systemd is a fake here; tests/service/test_build_attacks.py tries the real ones."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import cli, locks
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build import stream, unit
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.commands import newest as command
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.configuration import Configuration
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.tools import BuildError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.unit import StepError, Units
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError, UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.sandbox import NO_SOCKETS

NAME = "git-0123456789ab-py3.13"
COMMIT = "0123456789ab" + "0" * 28


def configured(root: Path, **source: Any) -> Configuration:
    given = {"kind": "git", "url": "https://x/nous.git", "ref": "main", "signers": [], "constraints": [], "description": "the source"}
    return Configuration(NAME, root, "/opt/python/bin/python3", "/opt/uv/bin/uv", {"SSL_CERT_FILE": "/etc/ca.pem", "A": "b"}, "", 64, "warn", given | source)


class Systemd:
    """systemd-run in the place of programs.run: what the unit answers, and how it was asked."""

    def __init__(self) -> None:
        self.argv: list[str] = []
        self.request: dict[str, Any] = {}
        self.answer = b""
        self.done = Completed(0, b"", b"")
        self.stopped: list[str] = []

    def run(self, argv: list[Any], **options: Any) -> Completed:
        self.argv, self.request = [str(each) for each in argv], json.loads(options["stdin"])
        if "stdout" in options:
            try:
                options["stdout"].write(self.answer)
                options["stdout"].flush()
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), options["stdout"].fileno())
        return self.done

    def properties(self) -> list[str]:
        return [each.removeprefix("--property=") for each in self.argv if each.startswith("--property=")]


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    made = Systemd()
    monkeypatch.setattr(unit, "run", made.run)
    monkeypatch.setattr(unit, "systemctl", lambda *words: made.stopped.append(" ".join(words)))
    monkeypatch.setattr(unit, "wait_until_forgotten", lambda name: made.stopped.append(f"forgotten {name}"))
    for module in (locks, unit):
        monkeypatch.setattr(module, "FOLDER", tmp_path / "locks")
    monkeypatch.setattr(unit, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(unit, "STORE", tmp_path / "cache/store")
    return made


def answer(result: dict[str, Any], *entries: bytes) -> bytes:
    out = io.BytesIO()
    out.writelines(entries)
    stream.finish(out, result)
    return out.getvalue()


FOLDER = b'{"path": "source", "kind": "d"}\n'


def test_the_build_unit(tmp_path: Path, systemd: Systemd) -> None:
    systemd.answer = answer({"lock": "fits"}, FOLDER)
    into = tmp_path / "into"
    into.mkdir()
    found = Units(configured(tmp_path), tmp_path / "work").build({"packages": []}, into)
    assert (found.result["lock"], found.tree.entries, [path.name for path in into.iterdir()]) == ("fits", 1, ["source"])
    told = ["stop nous-build.service", "forgotten nous-build.service", "stop nous-build.service"]
    assert systemd.stopped == told, "of a build that was killed, and whatever this one left"
    has = {*systemd.properties()}
    assert {"DynamicUser=yes", "PrivateNetwork=yes", "IPAddressDeny=any", "ProtectProc=invisible", "NoNewPrivileges=yes", "CapabilityBoundingSet="} <= has
    assert {"LimitNPROC=512", "LimitFSIZE=67108864", "RuntimeMaxSec=1800", "TasksMax=512", "MemoryMax=2214592512"} <= has
    assert f"RestrictAddressFamilies={NO_SOCKETS}" in has and f"RootDirectory={tmp_path}/locks/build-root" in has
    folder = f"{tmp_path}/releases/{NAME}"
    assert systemd.request["folder"] == folder
    sizes = [each for each in has if each.startswith("TemporaryFileSystem=")]
    assert sorted(each.split("=")[1].split(":")[0] for each in sizes) == sorted([folder, "/dev/shm"]) and "ReadOnlyPaths=+/tmp +/var/tmp" in has
    assert all("size=" in each for each in sizes)
    bound = {each.removeprefix("BindReadOnlyPaths=").removeprefix("-").split(":")[0] for each in has if each.startswith("BindReadOnlyPaths=")}
    assert {"/opt/python", "/opt/uv", f"{tmp_path}/work/files", f"{tmp_path}/work/fetched/source"} <= bound
    others = {each for each in bound if each.startswith("/etc")}
    assert others == {"/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime"}
    assert not any(each.startswith(("BindPaths", "ReadWritePaths", "LoadCredential")) for each in has)
    assert (tmp_path / "locks/build-root/lib").is_symlink()


@pytest.mark.parametrize(
    ("url", "lent"),
    [
        ("https://x/nous.git", ["git-credentials", "netrc"]),
        ("ssh://git@x/nous.git", ["id_ed25519", "known_hosts", "netrc"]),
        ("git@x:nous.git", ["id_ed25519", "known_hosts", "netrc"]),
        ("file:///srv/nous.git", ["git-credentials", "netrc"]),
        ("https://signed/nous.git", ["git-credentials", "netrc"]),
    ],
)
def test_the_fetch_unit_gets_what_its_url_needs(tmp_path: Path, systemd: Systemd, monkeypatch: pytest.MonkeyPatch, url: str, lent: list[str]) -> None:
    home = tmp_path / "root"
    (home / ".ssh").mkdir(parents=True)
    for name in (".netrc", ".git-credentials", ".ssh/id_ed25519", ".ssh/id_ed25519.pub", ".ssh/known_hosts", ".ssh/authorized_keys"):
        (home / name).touch()
    monkeypatch.setattr(unit, "HOME", home)
    systemd.answer = answer({"commit": COMMIT})
    signers = ["dev@example.org ssh-ed25519 AAAA"] if "signed" in url else []
    found = Units(configured(tmp_path, url=url, signers=signers), tmp_path / "work").fetch({"do": "newest"}, tmp_path / "none")
    assert found.result["commit"] == COMMIT
    has = systemd.properties()
    assert sorted(each.split("=")[1].split(":")[0] for each in has if each.startswith("LoadCredential=")) == lent
    assert {"DynamicUser=yes", "PrivateNetwork=no", "RestrictAddressFamilies=AF_INET AF_INET6", "SocketBindDeny=any"} <= {*has}
    bound = [each.removeprefix("BindReadOnlyPaths=") for each in has if each.startswith("BindReadOnlyPaths=")]
    assert "-/etc/ca.pem" in bound and ("-/srv/nous.git" in bound) == url.startswith("file:")
    named = "git@" in url or "signed" in url  # ssh and ssh-keygen look their own account up
    assert any(each.endswith(":/etc/passwd") for each in bound) == named
    if named:
        assert (tmp_path / "locks/accounts").read_text().startswith("nous-fetch:x:61184:61184:")


@pytest.mark.parametrize(
    ("sent", "done", "words"),
    [
        (b"", Completed(1, b"", b"error: it was killed\n"), "cannot be taken: error: it was killed"),
        (b"", Completed(0, b"", b""), "cannot be taken: it ended in the middle"),
        (b'{"path": "../x", "kind": "d"}\n' + b"x" * (1 << 20), Completed(0, b"", b""), "is no path below the folder"),
        (answer({"error": "error: no\x1b", "step": "Copy"}), Completed(0, b"", b""), r"^error: no\\x1b$"),
    ],
)
def test_what_a_unit_made_that_cannot_be_taken(tmp_path: Path, systemd: Systemd, sent: bytes, done: Completed, words: str) -> None:
    systemd.answer, systemd.done = sent, done
    with pytest.raises(BuildError, match=words) as raised:
        Units(configured(tmp_path), tmp_path / "work").build({}, tmp_path)
    assert not isinstance(raised.value, StepError) or raised.value.step == "Copy"


def test_a_build_in_its_unit(tmp_path: Path, systemd: Systemd) -> None:
    systemd.done = Completed(0, b'{"changed": true}', b"")
    made = configured(tmp_path / "root")
    umask = os.umask(0o077)
    assert unit.build(made, NAME, again=True) == {"changed": True}
    assert os.umask(umask) == 0o077
    assert made.releases.stat().st_mode & 0o777 == 0o755, "the server has to read below it"
    assert systemd.argv[-1] == "--again" and systemd.request["release"] == NAME
    has = systemd.properties()
    assert "RestrictAddressFamilies=AF_UNIX" in has and "PrivateNetwork=yes" in has and "CapabilityBoundingSet=" in has
    assert [each for each in has if each.startswith("ReadWritePaths")] == [
        f"ReadWritePaths={each}" for each in (f"-{tmp_path}/root", f"-{tmp_path}/cache", f"{tmp_path}/locks")
    ]
    systemd.done = Completed(1, b"", b"it was killed")
    with pytest.raises(NousVmError, match="was interrupted: it was killed"):
        unit.build(made, NAME)
    with pytest.raises(UsageError, match=r"is for git-.*, not for other"):
        unit.build(made, "other")
    archive = made._replace(source=made.source | {"kind": "archive", "archive": "/srv/sent/nous.tar.gz"})
    assert "ReadWritePaths=-/srv/sent" in list(unit.properties(archive))


def test_the_newest_commit(tmp_path: Path, systemd: Systemd, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    systemd.answer = answer({"commit": COMMIT})
    monkeypatch.setattr(command, "load", lambda _path: configured(tmp_path))
    assert cli.main(["newest"]) == 0
    assert capsys.readouterr().out == f"{COMMIT}\n"
    systemd.answer = answer({"commit": "../x"})
    with pytest.raises(BuildError, match="is no commit"):
        unit.newest_commit(configured(tmp_path))
    with pytest.raises(BuildError, match="no git repository"):
        unit.newest_commit(configured(tmp_path, kind="index"))
