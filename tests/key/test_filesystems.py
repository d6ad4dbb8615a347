"""File systems that are full, read-only, or cannot do what a key needs: a clear failure, and nothing half-written."""

from __future__ import annotations

import ctypes
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key.jwk import KeyProblem
from keysets import CASES, Case, KeySet, child, traced

CLONE_NEWNS = 0x00020000
PAGE = 4096


def mount(keys: KeySet, options: str) -> None:
    """Mount a file system of its own below a key set, or change how it is mounted."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", keys.root], check=True)


def alone(run: Callable[[], Any]) -> Any:
    """Return what run() returns, in a process whose mounts are its own."""
    reader, writer = os.pipe()

    def isolated() -> int:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        try:
            answer = run()
        except BaseException as error:  # noqa: BLE001 -- the parent raises it again
            answer = error
        os.write(writer, pickle.dumps(answer))
        return 0

    pid = child(isolated)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        found = answer.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    result = pickle.loads(found)  # noqa: S301 -- the child of this very process wrote it
    if isinstance(result, BaseException):
        raise result
    return result


def fill(keys: KeySet, leave: int) -> Path:
    """Take all room on a file system but for some pages."""
    filler = keys.root / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(PAGE))
        except OSError:
            os.ftruncate(file.fileno(), file.tell() - leave * PAGE)
    return filler


def rejected(keys: KeySet, rotation: str, sentence: str) -> None:
    with pytest.raises(KeyProblem) as problem:
        keys.run(rotation)
    assert sentence in str(problem.value)
    assert str(problem.value).endswith(".")
    assert list(keys.root.rglob("*.tmp")) == []


class TestFull:
    @pytest.mark.parametrize("room", [0, 1])
    def test_create(self, fresh: Callable[[], KeySet], room: int) -> None:
        """With no room not even the key can be made; with a page of it, the key but not the set."""
        keys = fresh()

        def run() -> None:
            mount(keys, "size=16k,mode=755")
            filler = fill(keys, leave=room)
            rejected(keys, "keep", "No space left on device")
            assert keys.path.exists() == bool(room)
            assert not keys.jwks.exists()
            made = keys.signs()
            filler.unlink()
            keys.run()
            assert made in (None, keys.signs())
            keys.is_well()

        alone(run)

    @pytest.mark.parametrize("room", [0, 1])
    def test_rotate(self, fresh: Callable[[], KeySet], room: int) -> None:
        keys = fresh()

        def run() -> None:
            mount(keys, "size=32k,mode=755")
            keys.run()
            before = keys.signs()
            keys.age()
            filler = fill(keys, leave=room)
            for _again in range(2):
                rejected(keys, "begin", "No space left on device")
                assert keys.signs() == before
                assert set(keys.published()) == {before}
                assert keys.next.exists() == bool(room)
                assert keys.run() == []
            filler.unlink()
            assert "activate_key" in keys.run("begin")
            assert keys.signs() != before
            keys.is_well(2)

        alone(run)

    def test_finish(self, fresh: Callable[[], KeySet]) -> None:
        """The set as it was keeps its name when there is no room for another."""
        keys = fresh()

        def run() -> None:
            mount(keys, "size=32k,mode=755")
            keys.run()
            keys.age()
            keys.run("begin")
            before = keys.jwks.read_bytes()
            filler = fill(keys, leave=0)
            rejected(keys, "finish", "No space left on device")
            assert keys.jwks.read_bytes() == before
            filler.unlink()
            assert keys.run("finish") == ["date_keys"]
            keys.is_well(2)

        alone(run)

    @pytest.mark.parametrize("inodes", range(1, 6))
    def test_no_inode_is_left(self, fresh: Callable[[], KeySet], inodes: int) -> None:
        """The root of the file system, two directories, a key and a set need five, and each of the files one more for a moment."""
        keys = fresh()

        def run() -> None:
            mount(keys, f"nr_inodes={inodes},mode=755")
            if inodes < 5:
                rejected(keys, "keep", "No space left on device")
                keys.signs()
                mount(keys, "remount,nr_inodes=100")
            keys.run()
            keys.is_well()

        alone(run)


class TestReadOnly:
    @pytest.mark.parametrize("case", [case for case in CASES if case.name != "create"], ids=lambda case: case.name)
    def test_nothing_is_changed(self, fresh: Callable[[], KeySet], case: Case) -> None:
        keys = fresh()

        def run() -> None:
            mount(keys, "size=64k,mode=755")
            case.prepare(keys)
            before = {path: path.read_bytes() for path in keys.root.rglob("*") if path.is_file()}
            mount(keys, "remount,ro")
            foretold = keys.run(case.rotation, check=True)
            assert foretold != []
            with pytest.raises(KeyProblem, match=r"signing\.pem can be neither made nor read: Read-only file system; put"):
                keys.run(case.rotation)
            assert {path: path.read_bytes() for path in keys.root.rglob("*") if path.is_file()} == before
            mount(keys, "remount,rw")
            assert keys.run(case.rotation) == foretold

        alone(run)

    def test_nothing_is_made(self, fresh: Callable[[], KeySet]) -> None:
        keys = fresh()

        def run() -> None:
            mount(keys, "ro,size=64k,mode=755")
            rejected(keys, "keep", "Read-only file system")

        alone(run)

    def test_what_is_as_requested_needs_no_write(self, fresh: Callable[[], KeySet]) -> None:
        keys = fresh()

        def run() -> None:
            mount(keys, "size=64k,mode=755")
            keys.run()
            mount(keys, "remount,ro")
            assert keys.run() == []

        alone(run)


class TestUnfit:
    """What no file system of this machine lacks, the kernel is made to deny."""

    def rejected(self, keys: KeySet, case: Case, fault: str, sentence: str) -> None:
        reader, writer = os.pipe()
        run = keys.run

        def attempt(rotation: str) -> list[str]:
            try:
                return run(rotation)
            except KeyProblem as problem:
                os.write(writer, str(problem).encode())
                return []

        keys.run = attempt  # type: ignore[method-assign, assignment]
        name = fault.partition(":")[0]
        status, _lines = traced(keys, case, f"--trace={name}", f"--inject={fault}")
        keys.run = run  # type: ignore[method-assign]
        os.close(writer)
        with os.fdopen(reader, encoding="utf-8") as answer:
            assert sentence in answer.read()
        assert os.waitstatus_to_exitcode(status) == 0

    @pytest.mark.parametrize("error", ["ENOLCK", "EOPNOTSUPP", "ENOSYS"])
    def test_no_locks(self, case: Case, fresh: Callable[[], KeySet], error: str) -> None:
        keys = fresh()
        case.prepare(keys)
        before = {path: path.read_bytes() for path in keys.root.rglob("*") if path.is_file()}
        self.rejected(keys, case, f"flock:error={error}", "so that two runs could make two keys; keep the key on a local")
        assert {path: path.read_bytes() for path in keys.root.rglob("*") if path.is_file()} == before
        keys.run(case.rotation)
        keys.is_well(case.keys)

    @pytest.mark.parametrize("error", ["EPERM", "EOPNOTSUPP"])
    @pytest.mark.parametrize("case", [case for case in CASES if case.name in ("create", "begin")], ids=lambda case: case.name)
    def test_no_hard_links(self, case: Case, fresh: Callable[[], KeySet], error: str) -> None:
        keys = fresh()
        case.prepare(keys)
        before = keys.signs()
        self.rejected(keys, case, f"linkat:error={error}", "its file system takes no hard link")
        assert keys.signs() == before
        assert [path.name for path in keys.root.rglob("*") if path.suffix in (".tmp", ".next")] == []
        keys.run(case.rotation)
        keys.is_well(case.keys)

    @pytest.mark.parametrize("error", ["EIO", "EDQUOT"])
    def test_a_disk_that_cannot_keep_what_was_written(self, case: Case, fresh: Callable[[], KeySet], error: str) -> None:
        keys = fresh()
        case.prepare(keys)
        before = keys.signs()
        self.rejected(keys, case, f"fsync:error={error}", "can be neither made nor read: ")
        assert keys.signs() == before
        keys.run(case.rotation)
        keys.is_well(case.keys)
