"""The seal program on plain files: what it cuts, and that it can be killed anywhere. Needs root and a disk that takes chattr +a."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

LINES = b"".join(b'{"number": %d}\n' % number for number in range(5000))
LOGS = {
    "lines": LINES,
    "torn": LINES + b'{"number": 50',
    "long last record": b"a\n" + b"b" * 5000 + b"\n",
    "long torn line": b"a\nb\n" + b"c" * 5000,
    "two records": b"a\nb\n",
    "the same again": b"a\n" * 1000,
}
NOTHING = {"empty": b"", "one record": b"a\n", "torn": b"a", "one and torn": b"a\nb"}


@pytest.fixture
def directory(tmp_path: Path, seal: types.ModuleType) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root may set inode flags")
    config = {"name": "x", "directory": str(tmp_path), "units": [], "owner": "root", "group": "root", "mode": "0600", "files": ["log"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    yield tmp_path
    for path in tmp_path.iterdir():
        if path.is_file():
            seal.inode_flags(path, off=seal.APPEND_ONLY | seal.IMMUTABLE)


def make(directory: Path, seal: types.ModuleType, content: bytes) -> Path:
    log = directory / "log"
    log.write_bytes(content)
    log.chmod(0o600)
    seal.inode_flags(log, on=seal.APPEND_ONLY)
    return log


def run(seal: types.ModuleType, directory: Path, command: str) -> int:
    return seal.main([command, "--config", str(directory / "config.json")])


def whole(directory: Path) -> bytes:
    segment = directory / ".segment/log"
    return (segment.read_bytes() if segment.exists() else b"") + (directory / "log").read_bytes()


def killed(seal: types.ModuleType, directory: Path, command: str, at: int) -> bool:
    """Run a command in a process that is gone right after its step number at; tell whether it came that far."""
    pid = os.fork()
    if pid == 0:
        count = -1

        def step(_name: str, _message: str) -> None:
            nonlocal count
            count += 1
            if count == at:
                os._exit(99)  # as SIGKILL: no finally is run

        seal.step = step
        os._exit(run(seal, directory, command))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 99


def assert_as_promised(seal: types.ModuleType, directory: Path, content: bytes, inode: int) -> None:
    assert whole(directory) == content
    assert (directory / "log").stat().st_ino == inode
    assert seal.inode_flags(directory / "log") & seal.APPEND_ONLY
    assert [path.name for path in (directory / ".segment").iterdir() if path.name != "log"] == []


@pytest.mark.parametrize("content", LOGS.values(), ids=LOGS.keys())
def test_seal_cuts_before_the_last_record(seal: types.ModuleType, directory: Path, content: bytes) -> None:
    inode = make(directory, seal, content).stat().st_ino
    assert run(seal, directory, "seal") == 0
    assert_as_promised(seal, directory, content, inode)
    segment, log = (directory / ".segment/log").read_bytes(), (directory / "log").read_bytes()
    assert segment.endswith(b"\n")
    assert log.count(b"\n") == 1


@pytest.mark.parametrize("content", NOTHING.values(), ids=NOTHING.keys())
def test_nothing_to_seal_is_a_success_that_says_so(seal: types.ModuleType, directory: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    inode = make(directory, seal, content).stat().st_ino
    assert run(seal, directory, "seal") == 0
    assert "holds no record before its last one" in capsys.readouterr().out
    assert_as_promised(seal, directory, content, inode)


@pytest.mark.parametrize("appended", [0, 3, 50_000], ids=lambda number: f"{number} appended")
@pytest.mark.parametrize("content", LOGS.values(), ids=LOGS.keys())
def test_killed_at_any_step_nothing_is_lost_or_doubled(seal: types.ModuleType, directory: Path, content: bytes, appended: int) -> None:
    """Whatever the units wrote before recovery, because they were thawed too early, is there too."""
    at = 0
    while True:
        log = make(directory, seal, content)
        inode = log.stat().st_ino
        reached = killed(seal, directory, "seal", at)
        new = b"".join(b"later %d\n" % number for number in range(appended))
        with open(log, "ab") as file:
            file.write(new)
        assert run(seal, directory, "recover") == 0
        assert_as_promised(seal, directory, content + new, inode)
        seal.inode_flags(log, off=seal.APPEND_ONLY)
        (directory / ".segment/log").unlink(missing_ok=True)
        if not reached:
            break
        at += 1
    assert at >= 8


def test_killed_at_any_step_the_next_seal_makes_up_for_it(seal: types.ModuleType, directory: Path) -> None:
    """Although nobody recovered."""
    for at in range(10):
        log = make(directory, seal, LINES)
        inode = log.stat().st_ino
        killed(seal, directory, "seal", at)
        assert run(seal, directory, "seal") == 0
        assert_as_promised(seal, directory, LINES, inode)
        seal.inode_flags(log, off=seal.APPEND_ONLY)
        (directory / ".segment/log").unlink()


@pytest.mark.parametrize("content", LOGS.values(), ids=LOGS.keys())
def test_recovery_can_be_killed_too(seal: types.ModuleType, directory: Path, content: bytes, full: bool) -> None:
    for at in range(3, 12) if full else (3, 6):
        for then in range(8):
            log = make(directory, seal, content)
            inode = log.stat().st_ino
            killed(seal, directory, "seal", at)
            with open(log, "ab") as file:
                file.write(b"later\n")
            killed(seal, directory, "recover", then)
            assert run(seal, directory, "recover") == 0
            assert_as_promised(seal, directory, content + b"later\n", inode)
            seal.inode_flags(log, off=seal.APPEND_ONLY)
            (directory / ".segment/log").unlink(missing_ok=True)


def test_recovery_killed_between_what_is_kept_and_its_journal(seal: types.ModuleType, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More to keep was written down than the journal speaks of."""
    log = make(directory, seal, LINES)
    inode, at = log.stat().st_ino, 0
    while not (directory / ".segment/log.journal").exists():
        killed(seal, directory, "seal", at)
        at += 1
    with open(log, "ab") as file:
        file.write(b"later\n")
    write_synced = seal.write_synced

    def killed_after(path: Path, content: bytes) -> None:
        write_synced(path, content)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(seal, "write_synced", killed_after)
        run(seal, directory, "recover")
    assert run(seal, directory, "recover") == 0
    assert_as_promised(seal, directory, LINES + b"later\n", inode)


def test_a_segment_that_waits_is_not_overwritten(seal: types.ModuleType, directory: Path) -> None:
    log = make(directory, seal, LINES)
    assert run(seal, directory, "seal") == 0
    with open(log, "ab") as file:
        file.write(LINES)
    assert run(seal, directory, "seal") == 0
    assert whole(directory) == LINES + LINES


def test_a_segment_that_was_tampered_with_stops_recovery(seal: types.ModuleType, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = make(directory, seal, LINES)
    steps = iter(range(100))
    assert any(killed(seal, directory, "seal", at) and (directory / ".segment/log.journal").exists() for at in steps)
    partial = directory / ".segment/log.partial"
    partial.chmod(0o600)
    partial.write_bytes(b"x" + partial.read_bytes()[1:])
    assert run(seal, directory, "recover") == 3
    assert "speaks of other bytes" in capsys.readouterr().err
    assert log.read_bytes() == LINES
    assert seal.inode_flags(log) & seal.APPEND_ONLY


def test_a_log_that_was_replaced_stops_recovery(seal: types.ModuleType, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = make(directory, seal, LINES)
    assert any(killed(seal, directory, "seal", at) and (directory / ".segment/log.journal").exists() for at in range(100))
    seal.inode_flags(log, off=seal.APPEND_ONLY)
    log.rename(directory / "elsewhere")
    make(directory, seal, LINES)
    assert run(seal, directory, "recover") == 3
    assert "is not the file that" in capsys.readouterr().err
    assert log.read_bytes() == LINES
    assert seal.inode_flags(log) & seal.APPEND_ONLY


@pytest.mark.parametrize("later", [b"", b"later\n"], ids=["thawed", "writes"])
def test_a_unit_that_does_not_hold_still_is_noticed(seal: types.ModuleType, directory: Path, later: bytes) -> None:
    """Just before the cut: it was thawed, or it wrote although the kernel says that it is frozen."""
    inode = make(directory, seal, LINES).stat().st_ino
    held_still, asked = seal.held_still, []

    @contextmanager
    def held_badly(_config: object) -> Iterator[Callable[[], dict[str, str]]]:
        def still() -> dict[str, str]:
            asked.append(later)
            if len(asked) == 2:  # the first time is before anything was changed
                if not later:
                    raise seal.SealError("a unit was thawed by somebody else")
                with open(directory / "log", "ab") as file:
                    file.write(later)
            return {}

        yield still

    seal.held_still = held_badly
    assert run(seal, directory, "seal") == 3
    seal.held_still = held_still
    assert run(seal, directory, "recover") == 0
    assert_as_promised(seal, directory, LINES + later, inode)


def test_another_run_is_waited_for_but_not_for_ever(seal: types.ModuleType, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(directory, seal, LINES)
    (directory / ".segment").mkdir(mode=0o700)
    other = subprocess.Popen(["flock", directory / ".segment", "sh", "-c", "echo; read line"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdin and other.stdout
    other.stdout.readline()
    seal.LOCK_WAIT = 0.1
    assert run(seal, directory, "recover") == 1
    assert "another nous-vm-seal is at work" in capsys.readouterr().err
    seal.LOCK_WAIT = 60
    waits = threading.Event()
    sleep = seal.time.sleep
    seal.time = types.SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: (waits.set(), sleep(seconds)))
    threading.Thread(target=lambda: (waits.wait(), other.communicate(b"\n")), daemon=True).start()
    assert run(seal, directory, "recover") == 0
    assert waits.is_set()


def test_a_stranger_who_writes_is_named_and_nothing_changes(seal: types.ModuleType, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = make(directory, seal, LINES)
    writer = os.open(log, os.O_WRONLY | os.O_APPEND)
    gate, let_go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(let_go)
        os.read(gate, 1)
        os._exit(0)
    os.close(writer)
    try:
        assert run(seal, directory, "seal") == 1
        assert f"(pid {pid})" in capsys.readouterr().err
        assert log.read_bytes() == LINES
        assert list((directory / ".segment").iterdir()) == []
    finally:
        os.close(let_go)
        os.waitpid(pid, 0)


def test_wrong_mode_is_mended_in_the_window(seal: types.ModuleType, directory: Path) -> None:
    log = make(directory, seal, LINES)
    seal.inode_flags(log, off=seal.APPEND_ONLY)
    log.chmod(0o644)
    seal.inode_flags(log, on=seal.APPEND_ONLY)
    assert run(seal, directory, "seal") == 0
    assert log.stat().st_mode & 0o7777 == 0o600


def test_archives_are_released_and_protected_again(seal: types.ModuleType, directory: Path) -> None:
    make(directory, seal, LINES)
    archives = [directory / name for name in ("log.1", "log.2.gz", "log.10.gz")]
    for archive in [*archives, directory / "log.old"]:
        archive.write_bytes(b"x")
    assert run(seal, directory, "recover") == 0
    assert all(seal.inode_flags(archive) & seal.IMMUTABLE and archive.stat().st_mode & 0o7777 == 0o440 for archive in archives)
    assert not seal.inode_flags(directory / "log.old") & seal.IMMUTABLE
    assert run(seal, directory, "release") == 0
    assert not any(seal.inode_flags(archive) & seal.IMMUTABLE for archive in archives)


@pytest.mark.parametrize("end", [0, 5, 40, None], ids=lambda end: f"to byte {end}")
def test_what_a_killed_logrotate_compressed_by_half_is_removed(seal: types.ModuleType, directory: Path, end: int | None) -> None:
    make(directory, seal, LINES)
    (directory / "log.1").write_bytes(LINES)
    (directory / "log.1.gz").write_bytes(gzip.compress(LINES)[:end])
    assert run(seal, directory, "recover") == 0
    assert (directory / "log.1").read_bytes() == LINES
    assert not (directory / "log.1.gz").exists()


def test_two_archives_of_one_number_that_differ_are_both_kept(seal: types.ModuleType, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(directory, seal, LINES)
    (directory / "log.1").write_bytes(LINES)
    (directory / "log.1.gz").write_bytes(gzip.compress(b"other\n"))
    assert run(seal, directory, "seal") == 1
    assert "holds other records than" in capsys.readouterr().err
    assert (directory / "log.1.gz").exists()
    assert whole(directory) == LINES


def test_all_logs_of_a_directory_are_sealed_in_one_pause(seal: types.ModuleType, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make(directory, seal, LINES)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"files": ["log", "two"]}))
    (directory / "two").write_bytes(LINES)
    assert run(seal, directory, "seal") == 0
    assert [(directory / ".segment" / name).read_bytes() + (directory / name).read_bytes() for name in ("log", "two")] == [LINES, LINES]
    assert capsys.readouterr().out.count("pause: ") == 1


def test_who_could_open_the_log_meanwhile_is_named_and_nothing_changes(seal: types.ModuleType, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A process of the group that holds nothing open could open the log in the moment in which it can be overwritten."""
    log = make(directory, seal, LINES)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"group": "daemon", "mode": "0660"}))
    stranger = subprocess.Popen(["sleep", "60"], user="nobody", group="nogroup", extra_groups=["daemon"])
    try:
        assert run(seal, directory, "seal") == 1
        assert f"could be opened by sleep (pid {stranger.pid}) outside the units, of root:daemon" in capsys.readouterr().err
        assert log.read_bytes() == LINES
    finally:
        stranger.kill()
        stranger.wait()
    assert run(seal, directory, "seal") == 0


def test_status_names_what_is_wrong(seal: types.ModuleType, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = make(directory, seal, LINES)
    assert run(seal, directory, "status") == 0
    seal.inode_flags(log, off=seal.APPEND_ONLY)
    assert run(seal, directory, "status") == 1
    assert "is not append-only" in capsys.readouterr().err
    assert run(seal, directory, "recover") == 0
    assert run(seal, directory, "status") == 0


def test_a_configuration_that_is_none_is_said(seal: types.ModuleType, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "config.json").write_text("{}")
    assert run(seal, directory, "status") == 2
    assert "cannot be used" in capsys.readouterr().err
