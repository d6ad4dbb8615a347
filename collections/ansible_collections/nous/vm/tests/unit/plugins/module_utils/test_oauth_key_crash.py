# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What _oauth_key leaves behind when runs race, are killed, or are refused: one key, whole, for its owner only."""

from __future__ import annotations

import errno
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils import _oauth_key
from ansible_collections.nous.vm.plugins.module_utils._oauth_key import KeyProblem, KeySpec, ensure_key, read_pem

RACERS = 8
ROUNDS = 25

STEPS = {
    *("chmod", "chown", "fchmod", "fchown", "fstat", "fsync", "link", "listdir"),
    *("lstat", "mkdir", "open", "stat", "unlink", "write"),
}


class Stage:
    """Stands in for the module os: tells act() of every step that touches a file before it is taken.

    A write takes 16 bytes at most, so that there is a step in the middle of the key.
    """

    def __init__(self, act: Callable[[int, str, tuple], None]) -> None:
        self._act = act
        self._taken = 0

    def __getattr__(self, name: str):
        function = getattr(os, name)
        if name not in STEPS:
            return function

        def step(*arguments, **options):
            self._taken += 1
            self._act(self._taken - 1, name, arguments)
            if name == "write":
                return os.write(arguments[0], bytes(arguments[1][:16]))
            return function(*arguments, **options)

        return step


def spec(directory: Path) -> KeySpec:
    path = str(directory / "etc/keys/signing.pem")
    return KeySpec(path, str(os.geteuid()), str(os.getegid()), 0o600, "EdDSA", 2048)


def fresh(directory: Path) -> None:
    """Nothing is there, not even the directory of the directory."""


def leftover(directory: Path) -> None:
    """A run was killed before this one."""
    keys = directory / "etc/keys"
    keys.parent.mkdir(mode=0o755)
    keys.mkdir(mode=0o700)
    (keys / ".signing.pem.0123456789abcdef.tmp").touch(mode=0o600)


def wrong_mode(directory: Path) -> None:
    """There is a key that somebody else can read."""
    ensure_key(spec(directory), False)
    Path(spec(directory).path).chmod(0o644)


@pytest.fixture(autouse=True)
def no_umask():
    previous = os.umask(0)
    yield
    os.umask(previous)


@pytest.fixture(params=[fresh, leftover, wrong_mode], ids=lambda prepare: prepare.__name__)
def prepare(request: pytest.FixtureRequest) -> Callable[[Path], None]:
    return request.param


def steps(directory: Path, prepare: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple]]:
    """The steps of a run that nothing disturbs."""
    directory.mkdir(mode=0o755)
    prepare(directory)
    taken: list[tuple[str, tuple]] = []
    with monkeypatch.context() as patch:
        patch.setattr(_oauth_key, "os", Stage(lambda _number, name, arguments: taken.append((name, arguments))))
        ensure_key(spec(directory), False)
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


def killed_before(number: int, directory: Path) -> int:
    def act(taken: int, _name: str, _arguments: tuple) -> None:
        if taken == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def run() -> int:
        _oauth_key.os = Stage(act)  # type: ignore[assignment]
        ensure_key(spec(directory), False)
        return 0

    return os.waitpid(child(run), 0)[1]


def key_is_whole_or_absent(directory: Path) -> bytes | None:
    path = Path(spec(directory).path)
    if not path.exists():
        return None
    pem = path.read_bytes()
    read_pem(pem, "EdDSA")
    return pem


def all_is_well(directory: Path) -> None:
    """One key, whole, no leftovers, modes as asked, and nothing left to do."""
    path = Path(spec(directory).path)
    assert [each.name for each in path.parent.iterdir()] == ["signing.pem"]
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_nlink) == (0o600, 1)
    assert [stat.S_IMODE(each.stat().st_mode) & ~0o055 for each in path.parents[:2]] == [0o700, 0o700]
    assert ensure_key(spec(directory), False).actions == []


def test_killed_before_every_step(
    prepare: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = len(steps(tmp_path / "undisturbed", prepare, monkeypatch))
    assert count > 10
    for number in range(count):
        directory = tmp_path / str(number)
        directory.mkdir(mode=0o755)
        prepare(directory)
        assert killed_before(number, directory) == signal.SIGKILL
        survivor = key_is_whole_or_absent(directory)
        foretold = ensure_key(spec(directory), True).actions
        assert ensure_key(spec(directory), False).actions == foretold
        assert survivor in (None, key_is_whole_or_absent(directory))
        all_is_well(directory)


def test_refused_at_every_step(
    prepare: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, or any other error of the system, at any step: one sentence, and never half a key."""
    taken = steps(tmp_path / "undisturbed", prepare, monkeypatch)
    for number, (name, _arguments) in enumerate(taken):
        directory = tmp_path / str(number)
        directory.mkdir(mode=0o755)
        prepare(directory)

        def act(step: int, _name: str, _arguments: tuple, number: int = number) -> None:
            if step == number:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(_oauth_key, "os", Stage(act))
            with pytest.raises(KeyProblem, match="signing.pem can be neither made nor read: No space left on device; "):
                ensure_key(spec(directory), False)
        key_is_whole_or_absent(directory)
        keys = Path(spec(directory).path).parent
        if prepare is fresh and name != "unlink" and keys.exists():
            assert [each.name for each in keys.iterdir() if each.name != "signing.pem"] == []
        ensure_key(spec(directory), False)
        all_is_well(directory)


def test_order_of_the_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Owner and mode come before the content, the content is on the disk before the name, the name before the end."""
    changing = {"mkdir", "fchown", "fchmod", "write", "fsync", "link", "unlink"}
    names = [name for name, _arguments in steps(tmp_path / "run", fresh, monkeypatch) if name in changing]
    assert [name for at, name in enumerate(names) if at == 0 or name != names[at - 1]] == [
        *("mkdir", "fchown", "fchmod", "fsync"),
        *("mkdir", "fchown", "fchmod", "fsync"),
        *("fchown", "fchmod", "write", "fsync", "link", "unlink", "fsync"),
    ]


def test_no_name_is_ever_wider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at before every step, with no umask to help."""
    directory = tmp_path / "run"
    directory.mkdir(mode=0o755)
    seen = set()

    def act(_taken: int, _name: str, _arguments: tuple) -> None:
        for path in directory.rglob("*"):
            kind = "directory" if path.is_dir() else "key" if path.name == "signing.pem" else "temporary"
            seen.add((kind, path.name if path.is_dir() else "", stat.S_IMODE(path.stat().st_mode)))

    monkeypatch.setattr(_oauth_key, "os", Stage(act))
    ensure_key(spec(directory), False)
    assert seen == {
        ("directory", "etc", 0o400),
        ("directory", "etc", 0o755),
        ("directory", "keys", 0o400),
        ("directory", "keys", 0o700),
        ("temporary", "", 0o600),
        ("key", "", 0o600),
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
        all_is_well(directory)
