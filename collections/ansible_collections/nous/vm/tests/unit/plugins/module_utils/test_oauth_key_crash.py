# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What _oauth_key leaves behind when runs race or are rejected: one key, whole, for its owner only.

That a run is killed is tested for real in the repository's tests/key.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils import _oauth_key_files
from ansible_collections.nous.vm.plugins.module_utils._oauth_key import KeySpec, ensure_key
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key.jwk import KeyProblem, read_pem

RACERS = 8
ROUNDS = 10  # tests/key has the whole number

STEPS = {
    *("chmod", "chown", "dup2", "fchmod", "fchown", "fstat", "fsync", "link", "listdir", "lstat"),
    *("mkdir", "open", "read", "rename", "stat", "unlink", "utime", "write"),
}


class Stage:
    """Stands in for the module os: tells act() of every step that touches a file before it is taken.

    A write takes 16 bytes at most, so that there is a step in the middle of the key.
    """

    def __init__(self, act: Callable[[int, str, tuple[Any, ...]], None]) -> None:
        self._act = act
        self._taken = 0

    def __getattr__(self, name: str) -> Any:
        function = getattr(os, name)
        if name not in STEPS:
            return function

        def step(*arguments: Any, **options: Any) -> Any:
            self._taken += 1
            self._act(self._taken - 1, name, arguments)
            if name == "write":
                return os.write(arguments[0], bytes(arguments[1][:16]))
            return function(*arguments, **options)

        return step


def spec(directory: Path, rotation: str = "keep") -> KeySpec:
    uid, gid = str(os.geteuid()), str(os.getegid())
    return KeySpec(
        *(str(directory / "etc/keys/signing.pem"), uid, gid),
        jwks_path=str(directory / "etc/jwks.json"),
        jwks_owner=uid,
        jwks_group=gid,
        rotation=rotation,
    )


class Case:
    """What there is before a run, and what the run is to do."""

    rotation = "keep"
    keys = 1  # published afterwards

    def prepare(self, directory: Path) -> None:
        """Nothing is there, not even the directory of the directory."""

    def run(self, directory: Path, check: bool = False) -> list[str]:
        return ensure_key(spec(directory, self.rotation), check).actions


class Fresh(Case):
    pass


class Leftover(Case):
    """A run was killed before this one."""

    def prepare(self, directory: Path) -> None:
        keys = directory / "etc/keys"
        keys.parent.mkdir(mode=0o755)
        keys.mkdir(mode=0o700)
        (keys / ".signing.pem.0123456789abcdef.tmp").touch(mode=0o600)


class WrongMode(Case):
    """There is a key that somebody else can read."""

    def prepare(self, directory: Path) -> None:
        ensure_key(spec(directory), False)
        Path(spec(directory).path).chmod(0o644)


class Begin(Case):
    """There is a key that may be rotated."""

    rotation = "begin"
    keys = 2

    def prepare(self, directory: Path) -> None:
        ensure_key(spec(directory), False)
        os.utime(spec(directory).path, (0, 0))


class Finish(Case):
    """A rotation was begun and the service restarted."""

    rotation = "finish"
    keys = 2

    def prepare(self, directory: Path) -> None:
        Begin().prepare(directory)
        ensure_key(spec(directory, "begin"), False)


@pytest.fixture(autouse=True)
def no_umask() -> Iterator[None]:
    previous = os.umask(0)
    yield
    os.umask(previous)


@pytest.fixture(params=[Fresh(), Leftover(), WrongMode(), Begin(), Finish()], ids=lambda case: type(case).__name__)
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


def steps(directory: Path, case: Case, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[Any, ...]]]:
    """The steps of a run that nothing disturbs."""
    directory.mkdir(mode=0o755)
    case.prepare(directory)
    taken: list[tuple[str, tuple[Any, ...]]] = []
    with monkeypatch.context() as patch:
        patch.setattr(_oauth_key_files, "os", Stage(lambda _number, name, arguments: taken.append((name, arguments))))
        case.run(directory)
    return taken


def child(run: Callable[[], int]) -> int:
    """Fork; the child ends with what run() returns, or 99 if it breaks."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(run())
        finally:
            os._exit(99)
    return pid


def signing(directory: Path) -> str | None:
    """The kid of the key that signs, which is whole and, if there is a set, published; None if there is no key."""
    path, jwks = Path(spec(directory).path), Path(spec(directory).jwks_path or "")
    if not path.exists():
        return None
    kid = read_pem(path.read_bytes(), "EdDSA").kid
    assert not jwks.exists() or kid in published(directory)
    return kid


def published(directory: Path) -> list[str]:
    return [key["kid"] for key in json.loads(Path(spec(directory).jwks_path or "").read_bytes())["keys"]]


def all_is_well(directory: Path, case: Case) -> None:
    """One key, whole, no leftovers, modes as requested, and nothing left to do."""
    path = Path(spec(directory).path)
    assert sorted(each.name for each in path.parent.iterdir()) == ["signing.pem"]
    assert sorted(each.name for each in path.parents[1].iterdir()) == ["jwks.json", "keys"]
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_nlink) == (0o600, 1)
    assert stat.S_IMODE(path.parents[1].joinpath("jwks.json").stat().st_mode) == 0o640
    assert [stat.S_IMODE(each.stat().st_mode) & ~0o055 for each in path.parents[:2]] == [0o700, 0o700]
    assert len(published(directory)) == case.keys
    assert signing(directory) == published(directory)[0]
    assert case.run(directory) == []


def test_rejected_at_every_step(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, or any other error of the system, at any step: one sentence, and never half a key."""
    taken = steps(tmp_path / "undisturbed", case, monkeypatch)
    for number, (name, _arguments) in enumerate(taken):
        directory = tmp_path / str(number)
        directory.mkdir(mode=0o755)
        case.prepare(directory)

        def act(step: int, _name: str, _arguments: tuple[Any, ...], number: int = number) -> None:
            if step == number:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(_oauth_key_files, "os", Stage(act))
            with pytest.raises(KeyProblem, match=r"No space left on device.*[;,] .*\.$"):
                case.run(directory)
        signing(directory)
        keys = Path(spec(directory).path).parent
        if name != "unlink" and keys.exists() and not isinstance(case, Leftover):
            assert [each.name for each in keys.iterdir() if each.name.endswith(".tmp")] == []
        case.run(directory)
        all_is_well(directory, case)


def changing(directory: Path, case: Case, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps of a run that change something, each once however often it is repeated in a row."""
    wanted = {"mkdir", "fchown", "fchmod", "write", "fsync", "link", "unlink", "rename", "utime"}
    names = [name for name, _arguments in steps(directory, case, monkeypatch) if name in wanted]
    return [name for at, name in enumerate(names) if at == 0 or name != names[at - 1]]


WRITTEN = ["fchown", "fchmod", "write", "fsync"]


def test_order_of_the_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Owner and mode come before the content, the content is on the disk before the name, the name before the end."""
    assert changing(tmp_path / "run", Fresh(), monkeypatch) == [
        *("mkdir", "fchown", "fchmod", "fsync"),
        *("mkdir", "fchown", "fchmod", "fsync"),
        *(*WRITTEN, "link", "unlink", "fsync"),
        *(*WRITTEN, "rename", "fsync"),
    ]


def test_order_of_the_steps_of_a_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next key is on the disk before it is published, and published before it signs."""
    assert changing(tmp_path / "run", Begin(), monkeypatch) == [
        *(*WRITTEN, "link", "unlink", "fsync"),
        *(*WRITTEN, "rename", "fsync"),
        *("utime", "fsync", "rename", "fsync"),
    ]


def test_no_name_is_ever_wider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at before every step, with no umask to help."""
    directory = tmp_path / "run"
    directory.mkdir(mode=0o755)
    seen = set()

    def act(_taken: int, _name: str, _arguments: tuple[Any, ...]) -> None:
        for path in directory.rglob("*"):
            seen.add((path.name if not path.name.endswith(".tmp") else path.name[:5], stat.S_IMODE(path.stat().st_mode)))

    monkeypatch.setattr(_oauth_key_files, "os", Stage(act))
    ensure_key(spec(directory), False)
    os.utime(spec(directory).path, (0, 0))
    ensure_key(spec(directory, "begin"), False)
    ensure_key(spec(directory, "finish"), False)
    assert seen == {
        *(("etc", 0o400), ("etc", 0o755), ("keys", 0o400), ("keys", 0o700)),
        *((".sign", 0o600), ("signing.pem", 0o600), ("signing.pem.next", 0o600)),
        *((".jwks", 0o600), (".jwks", 0o640), ("jwks.json", 0o640)),
    }


def test_race(tmp_path: Path) -> None:
    """Eight runs at once, from nothing: one key, and one run that says changed."""
    for number in range(ROUNDS):
        directory = tmp_path / str(number)
        directory.mkdir(mode=0o755)
        gate, opener = os.pipe()

        def run(directory: Path = directory, gate: int = gate, opener: int = opener) -> int:
            os.close(opener)
            os.read(gate, 1)
            return 1 if ensure_key(spec(directory), False).actions else 0

        racers = [child(run) for _each in range(RACERS)]
        os.close(gate)
        os.close(opener)
        ends = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in racers]
        assert sorted(ends) == [0] * (RACERS - 1) + [1]
        all_is_well(directory, Fresh())
