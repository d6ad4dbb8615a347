# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nous-vm audit checkpoint as its unit runs it: with descriptors and credentials, and no names."""

from __future__ import annotations

import gzip
import os
import sys
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import cli, machine
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit import signing
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.chain import head_of
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key import jwk
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key.jws import payload
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.machine import Machine
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.audit.evidence import LOG, Estate, signer

PEM = jwk.generate_pem("EdDSA", 0)
WORDS = ("audit", "checkpoint", "--log", LOG, "--key", "keys_1.pem")


@pytest.fixture
def estate(tmp_path: Path) -> Estate:
    made = Estate(tmp_path / "host")
    made.trusted = {about.kid: about.jwk for about in [jwk.read_pem(PEM, "EdDSA")]}
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/keys_1.pem").write_bytes(PEM)
    (tmp_path / "credentials/keys_.lock").touch()
    made.write(5)
    return made


def run(estate: Estate, *names: str, words: tuple[str, ...] = WORDS, pid: str = "") -> int:
    """Run the command in a process that has these files open, from descriptor 3 on; return its exit code."""
    child = os.fork()
    if not child:
        code = 99
        try:
            # Those of pytest have descriptors that are needed here.
            sys.stdout, sys.stderr = (os.fdopen(standard, "w", closefd=False) for standard in (1, 2))
            _open(estate, names, pid)
            code = cli.main([*words])
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _open(estate: Estate, names: tuple[str, ...], pid: str) -> None:
    files = {each: os.open(estate.folder / each, os.O_RDONLY) for each in names}
    files["append"] = os.open(estate.checkpoints, os.O_WRONLY | os.O_APPEND)
    high = [os.dup2(each, 100 + number) for number, each in enumerate(files.values())]
    for number, each in enumerate(high):
        os.dup2(each, 3 + number)
    os.environ["LISTEN_PID"] = pid or str(os.getpid())
    os.environ["LISTEN_FDNAMES"] = ":".join(name.replace("checkpoints.jws", "checkpoints").replace("trail.jsonl", "trail") for name in files)
    os.environ["CREDENTIALS_DIRECTORY"] = str(estate.folder.parent / "credentials")


def test_it_signs_what_is_new_over_rotations(estate: Estate) -> None:
    assert run(estate, LOG, "checkpoints.jws") == 0
    estate.happen()
    for _day in range(2):
        estate.write(4)
        estate.rotate()
    assert run(estate, LOG, f"{LOG}.1", f"{LOG}.2.gz", "trail.jsonl", "checkpoints.jws") == 0
    assert run(estate, LOG, f"{LOG}.1", f"{LOG}.2.gz", "trail.jsonl", "checkpoints.jws") == 0
    assert len(estate.lines("checkpoints.jws")) == 2
    assert estate.faults() == {}
    assert estate.verify()[f"log {LOG}"].notes == ["3 files, 13 chained records from the first on; 2 checkpoints compared, 0 records are newer than the last"]


def test_archives_that_it_does_not_have_are_covered_by_the_chain(estate: Estate) -> None:
    """Switched off for days, it goes on with the log as it is, and says so."""
    assert run(estate, LOG, "checkpoints.jws") == 0
    for _day in range(3):
        estate.write(4)
        estate.rotate()
    assert run(estate, LOG, f"{LOG}.1", f"{LOG}.2.gz", "checkpoints.jws") == 0
    assert estate.faults() == {}
    assert "bytes are covered by no checkpoint but through their chain" in estate.verify()[f"log {LOG}"].notes[0]


def test_what_it_needs(estate: Estate, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(estate, LOG, "checkpoints.jws", pid="1") == 2
    assert f"no descriptor is named append, {LOG}, checkpoints" in capfd.readouterr().err
    assert run(estate, LOG, "checkpoints.jws", words=(*WORDS[:-1], "keys_2.pem")) == 2
    assert "there is no credential keys_2.pem; there are: keys_1.pem" in capfd.readouterr().err
    (estate.folder.parent / "credentials/keys_1.pem").write_bytes(b"nothing")
    assert run(estate, LOG, "checkpoints.jws") == 1
    assert "the key of the checkpoints holds no key in PEM" in capfd.readouterr().err
    monkeypatch.setattr(jwk, "CRYPTOGRAPHY_ERROR", "no such module")
    assert run(estate, LOG, "checkpoints.jws") == 1
    assert "without python3-cryptography" in capfd.readouterr().err
    assert estate.lines("checkpoints.jws") == []


def test_a_rotation_meanwhile_is_no_failure(estate: Estate, capfd: pytest.CaptureFixture[str]) -> None:
    """Of a log that is cut while it is read nothing is signed."""

    def rotated(line: bytes) -> str:
        estate.rotate()
        return head_of(line)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signing, "head_of", rotated)
        assert run(estate, LOG, "checkpoints.jws") == 0
    assert "nothing is signed: the log was rotated while it was read" in capfd.readouterr().out


def test_a_full_disk(estate: Estate, capfd: pytest.CaptureFixture[str]) -> None:
    """What was written of a token is no checkpoint, and the next one begins on a line of its own."""
    with pytest.MonkeyPatch.context() as patch:
        write = os.write
        patch.setattr(os, "write", lambda descriptor, content: write(descriptor, content[:40]))
        assert run(estate, LOG, "checkpoints.jws") == 1
    assert "could be written in part only" in capfd.readouterr().err
    assert run(estate, LOG, "checkpoints.jws") == 0
    assert estate.faults() == {}


def test_a_compressed_archive_is_read_as_it_was(tmp_path: Path) -> None:
    estate = Estate(tmp_path / "host", signer())
    estate.write(3)
    estate.sign()
    for _day in range(2):
        estate.write(2)
        estate.rotate()
    assert gzip.decompress((estate.folder / f"{LOG}.2.gz").read_bytes()).count(b"\n") == 4
    estate.sign()
    assert estate.faults() == {}
    assert "no checkpoint but through" not in " ".join(estate.verify()[f"log {LOG}"].notes)


def test_it_names_the_machine(estate: Estate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The UUID of the hardware comes as a descriptor, because root alone may open it; in a container it is somebody else's."""
    for name in ("MACHINE_ID", "PRODUCT_UUID"):
        monkeypatch.setattr(machine, name, tmp_path / "absent")
    monkeypatch.setattr(machine, "CONTAINERS", (tmp_path / "container",))
    monkeypatch.setattr(machine, "MACHINE_ID", estate.folder / "machine-id")
    (estate.folder / "machine-id").write_text("30d0e4d4c7ed476c90a1bd2b8f6ee2f8\n")
    (estate.folder / "product-uuid").write_text("4C4C4544-0042-3510-8052-B4C04F4E5931\n")
    seen = []
    for part in ("both", "container", "none"):
        if part == "container":
            (tmp_path / "container").touch()
        elif part == "none":
            (estate.folder / "machine-id").unlink()
        estate.write()
        assert run(estate, LOG, "product-uuid", "checkpoints.jws") == 0
        seen.append(payload(estate.lines("checkpoints.jws")[-1].decode().strip()).get("machine"))
    expected = Machine("30d0e4d4c7ed476c90a1bd2b8f6ee2f8", "4c4c4544004235108052b4c04f4e5931").names()
    assert seen == [expected, {"id": expected["id"]}, None]
    assert estate.faults() == {}
