# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set of files: what is requested, what is rejected, and that it is written as a whole or not at all, whatever happens on the way."""

from __future__ import annotations

import contextlib
import errno
import getpass
import grp
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils._files import (
    Entry,
    FilesError,
    Outcome,
    Validator,
    disk,
    read_entries,
    read_validators,
    transaction,
    write_set,
)
from ansible_collections.nous.vm.plugins.module_utils._files import run as whole_run

ME, MY_GROUP = str(os.geteuid()), str(os.getegid())
RACES = 40
STEPS = {
    *("chmod", "chown", "fchmod", "fchown", "fsync", "link", "listdir", "makedirs"),
    *("mkdir", "open", "rename", "rmdir", "stat", "unlink", "write"),
}
CHANGING = {"mkdir", "fchown", "fchmod", "write", "fsync", "link", "rename", "rmdir", "unlink"}
State = dict[str, tuple[Any, ...]]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has other users and file flags")


def file(path: Path | str, content: str | bytes = "new\n", **more: Any) -> Entry:
    data = content if isinstance(content, bytes) else content.encode()
    return Entry(str(path), **{"owner": ME, "group": MY_GROUP, "mode": 0o644, "content": data, **more})


def directory(path: Path | str, mode: int = 0o755, **more: Any) -> Entry:
    return Entry(str(path), **{"owner": ME, "group": MY_GROUP, "mode": mode, **more})


def run(*entries: Entry, validate: list[Validator] | None = None, check: bool = False) -> Outcome:
    return write_set(entries, validate or [], check, True)


def rejection(*entries: Entry, validate: list[Validator] | None = None, check: bool = False) -> str:
    with pytest.raises(FilesError) as caught:
        run(*entries, validate=validate, check=check)
    return str(caught.value)


def state(top: Path) -> State:
    """Everything below top: kind, owner, group, mode and what is in it."""
    found: State = {}
    for path in sorted(top.rglob("*")):
        is_file = path.is_file() and not path.is_symlink()
        status = path.lstat()
        found[str(path)] = (status.st_mode, status.st_uid, status.st_gid, path.read_bytes() if is_file else None)
    return found


@pytest.fixture(autouse=True)
def strict_umask() -> Iterator[None]:
    previous = os.umask(0o077)
    yield
    os.umask(previous)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory of mode 0755 that everybody can reach, so that another user's validator can too."""
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and path != Path("/") and path != Path("/tmp"):
            path.chmod(path.stat().st_mode | 0o755)
    return tmp_path


@pytest.fixture
def alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workplace of this test's own: a run of another test in the common one removes what a killed run left there."""
    monkeypatch.setattr(disk, "workplace", lambda: f"{place}/nous-vm-files")


# ---- What is requested

GIVEN = {
    "path": "/etc/x",
    "state": "file",
    "content": None,
    "secret_content": None,
    "owner": "root",
    "group": "root",
    "mode": None,
}


def test_an_entry_is_read() -> None:
    assert read_entries(
        [
            {**GIVEN, "content": "ä\n"},
            {**GIVEN, "path": "/etc/y", "secret_content": "", "mode": "2640", "owner": "nous"},
            {**GIVEN, "path": "/etc/z", "state": "directory", "group": "caddy"},
            {**GIVEN, "path": "/etc/raw", "content": "\udcff"},
        ]
    ) == [
        Entry("/etc/x", "root", "root", 0o644, "ä\n".encode()),
        Entry("/etc/y", "nous", "root", 0o2640, b"", secret=True),
        Entry("/etc/z", "root", "caddy", 0o755),
        Entry("/etc/raw", "root", "root", 0o644, b"\xff"),
    ]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"content": "a", "secret_content": "b"}, "/etc/x has both content and secret_content; a file has one of them"),
        ({}, '/etc/x has neither content nor secret_content; a file has one of them, for example content: "".'),
        ({"state": "directory", "content": ""}, "/etc/x is a directory with content; allowed is content for a file"),
        ({"state": "directory", "secret_content": "a"}, "/etc/x is a directory with secret_content; allowed is"),
        ({"content": "a", "mode": "420"}, '/etc/x has the mode "420"; allowed are four octal digits in quotes'),
        ({"content": "a", "mode": "u=rw"}, '/etc/x has the mode "u=rw"; allowed are four octal digits'),
        ({"content": "a", "mode": "0648"}, '/etc/x has the mode "0648"; allowed are four octal digits'),
        ({"content": "\ud800"}, "/etc/x has a content that cannot be written as UTF-8; allowed is text."),
        ({"secret_content": "\ud800"}, "/etc/x has a secret_content that cannot be written as UTF-8; allowed is text."),
        *(
            (
                {"content": "a", "path": path},
                f"files has the path {path!r}; allowed is an absolute path without detours",
            )
            for path in ("etc/x", "/etc/x/", "/etc/../x", "/etc//x", "//etc/x", "/", "", "/etc/x\n", "/etc/\0")
        ),
    ],
)
def test_an_entry_that_makes_no_sense_is_rejected(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FilesError) as caught:
        read_entries([{**GIVEN, **given}])
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_a_path_that_is_there_twice_is_rejected() -> None:
    with pytest.raises(FilesError, match=r"^files has /etc/x more than once; allowed is one entry for each path\.$"):
        read_entries([{**GIVEN, "content": "a"}, {**GIVEN, "state": "directory"}])


def test_a_validator_is_read() -> None:
    entries = [file("/etc/x"), file("/etc/y")]
    (validator,) = read_validators([{"argv": ["a", "--file={/etc/x}", "{b}", "{}", "{/etc/y}"], "user": "u"}], entries)
    assert validator == Validator(("a", "--file={/etc/x}", "{b}", "{}", "{/etc/y}"), "u")
    assert validator.names == {"/etc/x", "/etc/y"}
    assert validator.staged("/stage") == ["a", "--file=/stage/etc/x", "{b}", "{}", "/stage/etc/y"]
    assert str(validator) == "a --file=/etc/x {b} {} /etc/y"


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["a", "{/etc/y}"], "validate names {/etc/y}, which is no file of the set; allowed are {/etc/x}."),
        (["a", "{/etc}"], "validate names {/etc}, which is no file of the set; allowed are {/etc/x}."),
        (
            ["a", "/etc/x"],
            'validate has the command "a /etc/x", which names no file of the set, so that it would never',
        ),
        ([], 'validate has the command "", which names no file of the set, so that it would never run'),
    ],
)
def test_a_validator_that_makes_no_sense_is_rejected(argv: list[str], sentence: str) -> None:
    with pytest.raises(FilesError) as caught:
        read_validators([{"argv": argv, "user": None}], [directory("/etc"), file("/etc/x")])
    assert str(caught.value).startswith(sentence)


def test_a_validator_of_a_set_without_files_is_rejected() -> None:
    with pytest.raises(FilesError, match=r"allowed are none, because the set has no files\.$"):
        read_validators([{"argv": ["a", "{/etc}"], "user": None}], [directory("/etc")])


# ---- Writing


def test_a_set_is_written_once(place: Path) -> None:
    """Directories come first, wherever they are listed, and modes are as requested whatever the umask is."""
    entries = [
        file(place / "a/b/file", "ä\n", mode=0o640),
        file(place / "a/empty", ""),
        directory(place / "a/b", 0o2750),
        directory(place / "a", 0o751),
    ]
    foretold = run(*entries, check=True)
    assert state(place) == {}
    outcome = run(*entries)
    assert outcome == foretold
    assert outcome.changed_paths == [str(place / name) for name in ("a", "a/b", "a/b/file", "a/empty")]
    assert state(place) == {
        str(place / "a"): (stat.S_IFDIR | 0o751, os.geteuid(), os.getegid(), None),
        str(place / "a/b"): (stat.S_IFDIR | 0o2750, os.geteuid(), os.getegid(), None),
        str(place / "a/b/file"): (stat.S_IFREG | 0o640, os.geteuid(), os.getegid(), "ä\n".encode()),
        str(place / "a/empty"): (stat.S_IFREG | 0o644, os.geteuid(), os.getegid(), b""),
    }
    assert run(*entries) == Outcome()


@as_root
def test_missing_parents_are_made_for_root_and_told(place: Path) -> None:
    entry = directory(place / "a/b/c", 0o700)
    assert run(entry, check=True).changed_paths == [str(place / name) for name in ("a", "a/b", "a/b/c")]
    assert run(entry).changed_paths == [str(place / name) for name in ("a", "a/b", "a/b/c")]
    assert [stat.S_IMODE((place / name).stat().st_mode) for name in ("a", "a/b", "a/b/c")] == [0o755, 0o755, 0o700]
    assert run(entry) == Outcome()


def test_nothing_is_written_where_nothing_changes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [directory(place / "a"), *(file(place / f"a/{number}") for number in range(12))]
    run(*entries)
    names: list[str] = []
    watch(monkeypatch, Stage(lambda _number, name, _arguments: names.append(name)))
    assert run(*entries) == Outcome()
    assert [name for name in names if name in CHANGING] == ["mkdir", "fchmod"]  # of the directory with the lock
    assert len(names) < 40


def test_only_what_differs_is_replaced(place: Path) -> None:
    entries = [file(place / "a"), file(place / "b")]
    run(*entries)
    inode = (place / "a").stat().st_ino
    (place / "b").write_text("hand\n")
    assert run(*entries).changed_paths == [str(place / "b")]
    assert (place / "a").stat().st_ino == inode
    assert (place / "b").read_text() == "new\n"
    assert [path.name for path in place.iterdir()] != []
    assert sorted(path.name for path in place.iterdir()) == ["a", "b"]


@pytest.mark.parametrize("wrong", [0o600, 0o666, 0o4644, 0o000])
def test_a_wrong_mode_is_mended_in_place(place: Path, wrong: int) -> None:
    entries = [directory(place / "d"), file(place / "d/a")]
    run(*entries)
    inode = (place / "d/a").stat().st_ino
    (place / "d/a").chmod(wrong)
    (place / "d").chmod(0o700)
    foretold = run(*entries, check=True)
    assert run(*entries) == foretold
    assert foretold.changed_paths == [str(place / "d"), str(place / "d/a")]
    assert foretold.diff[1] == {
        "before_header": str(place / "d/a"),
        "after_header": str(place / "d/a"),
        "before": {"state": "file", "owner": getpass.getuser(), "group": group_name(), "mode": f"{wrong:04o}"},
        "after": {"state": "file", "owner": ME, "group": MY_GROUP, "mode": "0644"},
    }
    assert (place / "d/a").stat().st_ino == inode
    assert run(*entries) == Outcome()


def group_name() -> str:
    return grp.getgrgid(os.getegid()).gr_name


@as_root
def test_a_wrong_owner_is_mended_in_place(place: Path) -> None:
    entry = file(place / "a", owner="root", group="root", mode=0o640)
    run(entry)
    inode = (place / "a").stat().st_ino
    os.chown(place / "a", 54321, 54322)
    (difference,) = run(entry).diff
    assert difference["before"] == {"state": "file", "owner": "54321", "group": "54322", "mode": "0640"}
    assert difference["after"] == {"state": "file", "owner": "root", "group": "root", "mode": "0640"}
    assert ((place / "a").stat().st_ino, (place / "a").stat().st_uid, (place / "a").stat().st_gid) == (inode, 0, 0)


@as_root
def test_mending_never_opens_a_file_to_more(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the old owner's to the new owner's, nobody has more on the way than before and after."""
    entry = file(place / "a", owner="root", group="root", mode=0o400)
    run(entry)
    os.chown(place / "a", 54321, 54321)
    (place / "a").chmod(0o664)
    seen = []

    def act(_number: int, name: str, _arguments: tuple[Any, ...]) -> None:
        status = (place / "a").stat()
        seen.append((name, status.st_uid, stat.S_IMODE(status.st_mode)))

    watch(monkeypatch, Stage(act))
    run(entry)
    assert [step for step in seen if step[0] in ("fchown", "fchmod")][1:] == [
        ("fchmod", 54321, 0o664),
        ("fchown", 54321, 0o400),
        ("fchmod", 0, 0o400),
    ]


def test_a_parent_may_be_a_symbolic_link(place: Path) -> None:
    (place / "real").mkdir()
    (place / "link").symlink_to("real")
    run(file(place / "link/a"))
    assert (place / "real/a").read_text() == "new\n"


# ---- What is rejected, with nothing changed


def make(path: Path, kind: str) -> None:
    if kind == "symbolic link":
        path.symlink_to("/etc/hostname")
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    elif kind == "directory":
        path.mkdir()
    else:
        path.write_text("")


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("kind", ["symbolic link", "FIFO", "socket", "directory", "file"])
def test_another_kind_is_rejected(place: Path, kind: str, check: bool) -> None:
    make(place / "x", kind)
    before = state(place)
    wanted = "directory" if kind == "file" else "file"
    entry = directory(place / "x") if wanted == "directory" else file(place / "x")
    assert rejection(file(place / "a"), entry, check=check) == (f"{place}/x is a {kind}, not a {wanted}; move it away, or choose another path.")
    if kind not in ("directory", "file"):
        assert f"{place}/x is a {kind}, not a directory" in rejection(directory(place / "x"), check=check)
    assert state(place) == before


@pytest.mark.parametrize("check", [True, False])
def test_a_missing_parent_is_rejected(place: Path, check: bool) -> None:
    assert rejection(file(place / "a"), file(place / "no/x"), check=check) == (
        f"{place}/no/x lies in {place}/no, which does not exist; add that to the set as a directory."
    )
    assert state(place) == {}


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("entry", [file, directory])
def test_a_parent_that_is_no_directory_is_rejected(place: Path, entry: Callable[[Path], Entry], check: bool) -> None:
    (place / "x").write_text("")
    assert rejection(file(place / "a"), entry(place / "x/y"), check=check) == (
        f"{place}/x/y lies in {place}/x, which is not a directory; move it away, or choose another path."
    )
    assert not (place / "a").exists()


def test_a_strange_owner_is_rejected_and_foretold(place: Path) -> None:
    entry = file(place / "a", owner="nobody-yet", mode=0o600)
    assert rejection(entry) == (f"{place}/a has the owner nobody-yet, which this host does not have; make it first, or choose another, such as root.")
    assert "the group nobody-yet, which this host" in rejection(directory(place / "a", group="nobody-yet"))
    outcome = run(entry, directory(place / "d", group="nobody-yet"), check=True)
    assert outcome.changed_paths == [f"{place}/d", f"{place}/a"]
    assert outcome.diff[0]["after"]["group"] == "nobody-yet"
    assert outcome.diff[1]["after_header"] == f"{place}/a (nobody-yet:{MY_GROUP} 0600)"
    assert state(place) == {}


def test_a_strange_owner_of_what_is_there_is_foretold(place: Path) -> None:
    run(file(place / "a"))
    assert run(file(place / "a", owner="nobody-yet"), check=True).changed_paths == [f"{place}/a"]


def test_what_cannot_be_looked_at_is_rejected(place: Path) -> None:
    name = "x" * 300
    assert rejection(file(place / "a"), file(place / name)) == f"{place}/{name}: File name too long; nothing was changed."
    assert state(place) == {}


def test_a_workplace_of_somebody_else_is_rejected(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(place))
    (place / "nous-vm-files-54321").mkdir()
    assert rejection(file(place / "a")) == (f"{place}/nous-vm-files-54321 belongs to {getpass.getuser()}; remove it and run again.")
    (place / "nous-vm-files-54321").rmdir()
    (place / "nous-vm-files-54321").symlink_to(place)
    assert rejection(file(place / "a")) == f"{place}/nous-vm-files-54321: Not a directory; nothing was changed."


def test_without_root_the_workplace_is_among_temporary_files(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is staged there is for this user alone, because owners cannot be given."""
    (place / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(place / "temporary"))
    monkeypatch.setattr(whole_run.Run, "open_stage", None)
    pid = os.fork()
    if pid == 0:
        status = 1
        with contextlib.suppress(BaseException):
            os.chown(place / "temporary", 54321, 54321) if os.geteuid() == 0 else None
            os.chown(place, 54321, 54321) if os.geteuid() == 0 else None
            os.setgid(54321) if os.geteuid() == 0 else None
            os.setuid(54321) if os.geteuid() == 0 else None
            me = {"owner": str(os.geteuid()), "group": str(os.getegid())}
            outcome = run(file(place / "a", **me), validate=[Validator(("test", "-s", f"{{{place}/a}}"))])
            status = 0 if outcome.changed_paths == [f"{place}/a"] else 2
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (place / "a").read_text() == "new\n"
    (workplace,) = (place / "temporary").iterdir()
    assert list(workplace.iterdir()) == []


# ---- What a diff shows


def test_a_diff_of_content(place: Path) -> None:
    me = f"{getpass.getuser()}:{group_name()}"
    (place / "a").write_text("old\n")
    (place / "a").chmod(0o600)
    assert run(file(place / "a"), file(place / "b", ""), check=True).diff == [
        {
            "before_header": f"{place}/a ({me} 0600)",
            "after_header": f"{place}/a ({ME}:{MY_GROUP} 0644)",
            "before": "old\n",
            "after": "new\n",
        },
        {
            "before_header": f"{place}/b",
            "after_header": f"{place}/b",
            "before": {"state": "absent"},
            "after": {"state": "file", "owner": ME, "group": MY_GROUP, "mode": "0644"},
        },
    ]
    (difference,) = run(file(place / "c"), check=True).diff
    assert (difference["before_header"], difference["before"]) == (f"{place}/c (absent)", "")


def test_a_diff_of_what_is_no_text(place: Path) -> None:
    (place / "a").write_bytes(b"\xff\0\n")
    (difference,) = run(file(place / "a"), check=True).diff
    assert (difference["before"], difference["after"]) == ("(3 bytes that are not UTF-8)\n", "new\n")
    (difference,) = run(file(place / "a", content=b"\xfe\0\n"), check=True).diff
    assert difference["after"]["content"] == "other content, which cannot be shown"


def test_a_diff_of_what_is_too_long(place: Path) -> None:
    (place / "a").write_bytes(b"x" * 200_000)
    (difference,) = run(file(place / "a"), check=True).diff
    assert difference["before"] == "(200000 bytes, too many to show)\n"
    (difference,) = run(file(place / "a", "y" * 200_000)).diff
    assert difference["after"]["content"] == "other content, which cannot be shown"
    assert (place / "a").read_bytes() == b"y" * 200_000
    assert run(file(place / "a", "y" * 200_000)) == Outcome()


def test_no_diff_is_made_unless_asked_for(place: Path) -> None:
    assert write_set([file(place / "a")], [], True, False).diff == []


def test_a_diff_of_a_secret_says_only_that_it_differs(place: Path) -> None:
    entry = file(place / "a", "hunter2\n", secret=True, mode=0o600)
    (new,) = run(entry, check=True).diff
    assert new["before"] == {"state": "absent"}
    assert new["after"]["content"] == "the requested secret"
    (place / "a").write_text("hunter1\n")
    (other,) = run(entry, check=True).diff
    assert other["before"]["content"] == "differs from the requested secret"
    assert "hunter" not in repr([new, other])
    run(entry)
    (place / "a").chmod(0o644)
    (mended,) = run(entry).diff
    assert "content" not in mended["before"] | mended["after"]


# ---- Validating


def script(text: str, *names: Path, user: str | None = None) -> Validator:
    return Validator(("sh", "-c", text, "sh", *(f"{{{name}}}" for name in names)), user)


@pytest.mark.parametrize("check", [True, False])
def test_a_validator_sees_the_set_and_can_reject_it(place: Path, check: bool) -> None:
    (place / "a").write_text("old\n")
    before = state(place)
    entries = [directory(place / "d"), file(place / "a"), file(place / "d/b")]
    seen = script('cat "$1" "$(dirname "$1")/d/b" >&2; seq 20; echo "$1: bad line"; exit 3', place / "a")
    assert rejection(*entries, validate=[seen], check=check) == (
        f'"{seen}" rejects the set (exit code 3), and nothing was changed: {" | ".join(str(number) for number in range(12, 21))} | {place}/a: bad line'
    )
    assert state(place) == before
    silent = script("exit 1", place / "a")
    assert rejection(*entries, validate=[silent], check=check).endswith("nothing was changed: it printed nothing.")
    assert rejection(*entries, validate=[script("cat $1; exit 1", place / "a")]).endswith("changed: new")


def test_the_first_that_fails_ends_the_run(place: Path) -> None:
    witness = place / "witness"
    validators = [script("true", place / "a"), script("false", place / "a"), script(f"touch {witness}", place / "a")]
    assert '"sh -c false' in rejection(file(place / "a"), validate=validators)
    assert state(place) == {}


def test_only_validators_of_what_changes_run(place: Path) -> None:
    entries = [file(place / "a"), file(place / "b")]
    run(*entries)
    no = script("false", place / "a")
    assert run(*entries, validate=[no]) == Outcome()
    (place / "b").write_text("other\n")
    assert run(*entries, validate=[no]).changed_paths == [f"{place}/b"]
    (place / "a").chmod(0o600)
    assert "rejects the set" in rejection(*entries, validate=[no])


@pytest.mark.usefixtures("alone")
def test_nothing_stays_on_the_stage(place: Path) -> None:
    told = place / "told"
    run(file(place / "a"), validate=[script(f'echo "$1" > {told}', place / "a")])
    staged = Path(told.read_text().strip())
    assert str(staged).endswith(str(place / "a"))
    assert not staged.exists()
    workplace = next(path for path in staged.parents if path.name.startswith("nous-vm-files"))
    assert stat.S_IMODE(workplace.stat().st_mode) == 0o711
    assert list(workplace.iterdir()) == []


@pytest.mark.usefixtures("alone")
def test_what_a_killed_run_staged_is_removed(place: Path) -> None:
    told = place / "told"
    kill = script(f'echo "$1" > {told}; kill -9 $PPID', place / "a")
    pid = child(lambda: len(run(file(place / "a"), validate=[kill]).changed_paths))
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    staged = Path(told.read_text().strip())
    assert staged.exists()
    assert run(file(place / "a"), check=True).changed_paths == [f"{place}/a"]
    assert not staged.exists()


@as_root
def test_a_validator_as_another_user_sees_what_that_user_will_see(place: Path) -> None:
    group = grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name
    own: dict[str, Any] = {"owner": "root", "group": group, "mode": 0o640}
    inside = [directory(place / "d", 0o710, owner="root", group=group), file(place / "d/a", **own)]
    look = script(
        'cat "$1" && test "$(id -un) $HOME $USER" = "nobody $(getent passwd nobody | cut -d: -f6) nobody"',
        place / "d/a",
        user="nobody",
    )
    assert run(*inside, validate=[look], check=True).changed_paths == [f"{place}/d", f"{place}/d/a"]
    run(*inside, validate=[Validator(("runuser", "-u", "nobody", "--", "cat", f"{{{place}/d/a}}"))], check=True)
    shut = file(place / "a", owner="root", group="root", mode=0o640)
    assert f"{place}/a: Permission denied" in rejection(shut, validate=[script('cat "$1"', place / "a", user="nobody")])
    shut_in = [directory(place / "d", 0o700, owner="root", group="root"), file(place / "d/a", **own)]
    assert "Permission denied" in rejection(*shut_in, validate=[script('cat "$1"', place / "d/a", user="nobody")])
    place.chmod(0o700)
    assert "Permission denied" in rejection(file(place / "a"), validate=[script('cat "$1"', place / "a", user="nobody")])
    assert not (place / "a").exists()


@as_root
def test_a_validator_runs_in_a_plain_surrounding(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the run that started it was in: at the root, without input, with the groups of its user and no others."""
    groups = [pwd.getpwnam("nobody").pw_gid, 54321]
    monkeypatch.setattr(os, "getgrouplist", lambda _name, _group: groups)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    look = script('pwd; readlink "/proc/self/fd/0"; id -G; command -v chroot; false', place / "a", user="nobody")
    reader, writer = os.pipe()
    with contextlib.chdir(place), os.fdopen(reader), os.fdopen(writer):
        stdin = os.dup(0)
        os.dup2(reader, 0)
        try:
            printed = rejection(file(place / "a"), validate=[look])
        finally:
            os.dup2(stdin, 0)
            os.close(stdin)
    chroot = shutil.which("chroot", path="/usr/local/sbin:/usr/sbin:/sbin")
    assert printed.endswith(f"changed: / | /dev/null | {groups[0]} {groups[1]} | {chroot}")
    monkeypatch.delenv("PATH")
    run(file(place / "a"), validate=[Validator(("chroot", "/", "test", "-s", f"{{{place}/a}}"))])


@as_root
def test_nobody_else_finds_the_stage(place: Path) -> None:
    look = script('ls "${1%%/nous-vm-files/*}/nous-vm-files"', place / "a", user="nobody")
    assert "Permission denied" in rejection(file(place / "a"), validate=[look])


@as_root
def test_what_belongs_to_nobody_yet_is_staged_for_root_alone(place: Path) -> None:
    look = script('stat -c "%U:%G %a" "$1" "${1%/*}"; false', place / "d/a")
    entries = [directory(place / "d", owner="nobody-yet"), file(place / "d/a", group="nobody-yet", mode=0o666)]
    assert rejection(*entries, validate=[look], check=True).endswith("root:root 600 | root:root 700")


@pytest.mark.parametrize(
    ("validator", "missing"),
    [
        (("no-such-program", "{PATH}"), "the program no-such-program"),
        (("/no/such/program", "{PATH}"), "the program /no/such/program"),
        (("true", "{PATH}"), "the user nobody-yet"),
    ],
)
def test_a_validator_that_the_host_does_not_have(place: Path, validator: tuple[str, ...], missing: str) -> None:
    """On a bare host in check mode its absence is no failure."""
    argv = tuple(word.replace("PATH", f"{place}/a") for word in validator)
    gone = Validator(argv, "nobody-yet" if "user" in missing else None)
    printed = f'"{gone}" cannot validate the set, because this host does not have {missing}'
    assert rejection(file(place / "a"), validate=[gone]) == f"{printed}; nothing was changed."
    assert state(place) == {}
    assert run(file(place / "a"), validate=[gone], check=True).warnings == [f"{printed} yet."]
    assert "rejects" in rejection(file(place / "a"), validate=[gone, script("false", place / "a")], check=True)


def test_a_validator_that_is_no_program(place: Path) -> None:
    (place / "program").write_bytes(b"\x7fELF")
    (place / "program").chmod(0o755)
    argv = (f"{place}/program", f"{{{place}/a}}")
    assert rejection(file(place / "a"), validate=[Validator(argv)]) == (f"{place}/program: Exec format error; nothing was changed.")


def test_a_staged_program_can_validate_itself(place: Path) -> None:
    entry = file(place / "a", "#!/bin/sh\necho self; exit 1\n", mode=0o755)
    assert rejection(entry, validate=[Validator((f"{{{place}/a}}",))]).endswith("changed: self")


def test_a_secret_is_shown_to_no_validator_that_does_not_name_it(place: Path) -> None:
    entries = [file(place / "a"), file(place / "secret", "hunter2\n", secret=True)]
    look = script('ls "${1%/*}"; false', place / "a")
    assert rejection(*entries, validate=[look]).endswith("changed: a")
    tell = script('cat "$2"; false', place / "a", place / "secret")
    assert rejection(*entries, validate=[tell]) == (
        f'"{tell}" rejects the set (exit code 1), and nothing was changed: what it printed is not shown, because it was given a secret.'
    )


UNIT = "[Unit]\nDescription=A test\n[Service]\nType=oneshot\nExecStart=/bin/sh -c true\n"
TIMER = "[Unit]\nDescription=A test\nRequires=nous-vm-test.service\n[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n"


def test_systemd_finds_the_units_of_the_set_beside_one_another(place: Path) -> None:
    paths = [place / "nous-vm-test.service", place / "nous-vm-test.timer"]
    verify = Validator(("systemd-analyze", "verify", "--man=no", *(f"{{{path}}}" for path in paths)))
    timer_alone = Validator(("systemd-analyze", "verify", "--man=no", f"{{{paths[1]}}}"))
    assert "Unit nous-vm-test.service not found" in rejection(file(paths[1], TIMER), validate=[timer_alone])
    bad = file(paths[1], TIMER.replace("daily", "dayly"))
    assert f"{paths[1]}:5: " in rejection(file(paths[0], UNIT), bad, validate=[verify])
    assert state(place) == {}
    run(file(paths[0], UNIT), file(paths[1], TIMER), validate=[verify])
    # A unit that lies on the host already serves the timer that is new.
    run(file(paths[0], UNIT), file(paths[1], TIMER.replace("daily", "weekly")), validate=[timer_alone])
    assert paths[1].read_text() == TIMER.replace("daily", "weekly")


# ---- What fails on the way


class Stage:
    """Stands in for the module os: tells act() of every step that touches a file before it is taken.

    A write takes two bytes at most, so that there is a step in the middle of a file.
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
                return os.write(arguments[0], bytes(arguments[1][:2]))
            return function(*arguments, **options)

        return step


def watch(patch: pytest.MonkeyPatch, stage: Stage) -> None:
    """Have all that touches files go through a stage."""
    for module in (disk, transaction, whole_run):
        patch.setattr(module, "os", stage)


def wanted(top: Path) -> list[Entry]:
    return [
        directory(top / "etc", 0o755),
        directory(top / "etc/sub", 0o750),
        file(top / "etc/one", "new one\n", mode=0o640),
        file(top / "etc/two", "new two\n"),
        file(top / "etc/sub/three", "new three\n"),
        file(top / "etc/four", "same\n", mode=0o600),
    ]


def fresh(_top: Path) -> None:
    """Nothing is there."""


def older(top: Path) -> None:
    """An older set is there; one mode is wrong, one directory and one file are missing."""
    (top / "etc").mkdir(mode=0o700)
    for name, content in (("one", "old one\n"), ("two", "the old two\n"), ("four", "same\n")):
        (top / "etc" / name).write_text(content)
        (top / "etc" / name).chmod(0o604)


def leftover(top: Path) -> None:
    """A run was killed before this one."""
    older(top)
    (top / "etc/.one.0123456789abcdef.nous-vm").write_text("half")
    os.link(top / "etc/two", top / "etc/.two.0123456789abcdef.nous-vm")
    (top / "etc/.sub.0123456789abcdef.nous-vm").mkdir()


@pytest.fixture(params=[fresh, older, leftover], ids=lambda prepare: prepare.__name__)
def prepare(request: pytest.FixtureRequest) -> Callable[[Path], None]:
    found: Callable[[Path], None] = request.param
    return found


def validators(top: Path) -> list[Validator]:
    return [script("test -s $1", top / "etc/one")]


def steps(top: Path, prepare: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps of a run that nothing disturbs."""
    top.mkdir(mode=0o755)
    prepare(top)
    taken: list[str] = []
    with monkeypatch.context() as patch:
        watch(patch, Stage(lambda _number, name, _arguments: taken.append(name)))
        run(*wanted(top), validate=validators(top))
    return taken


def child(work: Callable[[], int]) -> int:
    """Fork; the child ends with what work() returns, or 99 if it breaks."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(work())
        finally:
            os._exit(99)
    return pid


def killed_before(number: int, top: Path) -> int:
    def act(taken: int, _name: str, _arguments: tuple[Any, ...]) -> None:
        if taken == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> int:
        watch(pytest.MonkeyPatch(), Stage(act))  # of a process that ends
        run(*wanted(top), validate=validators(top))
        return 0

    return os.waitpid(child(work), 0)[1]


def all_is_well(top: Path) -> None:
    """The whole set is there as requested, nothing else does, and nothing is left to do."""
    me = (os.geteuid(), os.getegid())
    assert state(top) == {
        entry.path: (
            (stat.S_IFDIR if entry.content is None else stat.S_IFREG) | entry.mode,
            *me,
            entry.content,
        )
        for entry in wanted(top)
    }
    assert all(path.stat().st_nlink == 1 for path in top.rglob("*") if path.is_file())
    assert run(*wanted(top)) == Outcome()


def nothing_is_torn(top: Path, before: State) -> None:
    """Under every name lies what was there or what is requested; whatever else is there has a temporary name."""
    for path, found in state(top).items():
        asked = {entry.path: entry.content for entry in wanted(top)}
        if path in asked:
            assert found[3] in (asked[path], before.get(path, (None,))[-1])
        else:
            assert whole_run.TEMPORARY.fullmatch(Path(path).name)


def test_killed_before_every_step(prepare: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = len(steps(tmp_path / "undisturbed", prepare, monkeypatch))
    assert count > 60
    for number in range(count):
        top = tmp_path / str(number)
        top.mkdir(mode=0o755)
        prepare(top)
        before = state(top)
        assert killed_before(number, top) == signal.SIGKILL
        nothing_is_torn(top, before)
        foretold = run(*wanted(top), check=True)
        assert run(*wanted(top)) == foretold
        all_is_well(top)


def test_a_killed_run_is_made_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a path that a killed run replaced is told by the next, as long as the killed one had work to do."""
    top = tmp_path / "undisturbed"
    taken = steps(top, older, monkeypatch)
    last = len(taken) - 1 - taken[::-1].index("unlink")
    for number in range(taken.index("rename"), last + 1):
        top = tmp_path / str(number)
        top.mkdir(mode=0o755)
        older(top)
        killed_before(number, top)
        assert str(top / "etc/two") in run(*wanted(top)).changed_paths


def test_rejected_at_every_step(prepare: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, or any other error of the system, at any step: everything as it was, or, at the very end, all of it."""
    taken = steps(tmp_path / "undisturbed", prepare, monkeypatch)
    rejections = 0
    for number in range(len(taken)):
        top = tmp_path / str(number)
        top.mkdir(mode=0o755)
        prepare(top)
        before = state(top)

        def act(step: int, _name: str, _arguments: tuple[Any, ...], number: int = number) -> None:
            if step == number:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            watch(patch, Stage(act))
            try:
                run(*wanted(top), validate=validators(top))
            except FilesError as error:
                rejections += 1
                assert ": No space left on device; " in str(error)
                assert str(error).endswith(("nothing was changed.", "everything is as it was before."))
                after = state(top)
                assert {path: found for path, found in before.items() if "nous-vm" not in path} == {
                    path: found for path, found in after.items() if "nous-vm" not in path
                }
                assert set(after) <= set(before)
        run(*wanted(top))
        all_is_well(top)
    assert rejections > 50


def test_order_of_the_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Owner and mode come before the content, all contents are on the disk before the first name moves, names before the end."""
    top = tmp_path / "run"
    top.mkdir(mode=0o755)
    older(top)
    names: list[str] = []
    watch(monkeypatch, Stage(lambda _number, name, _arguments: names.append(name)))
    run(*wanted(top))
    changing = [name for name in names if name in CHANGING][2:]
    assert [name for at, name in enumerate(changing) if at == 0 or name != changing[at - 1]] == [
        *("fchmod", "fchown", "fchmod", "fsync"),  # etc
        *("mkdir", "fchmod", "fchown", "fchmod", "fsync", "rename"),  # etc/sub
        *("fchown", "fchmod", "write", "fsync", "link"),  # one
        *("fchown", "fchmod", "write", "fsync", "link"),  # two
        *("fchown", "fchmod", "write", "fsync"),  # sub/three
        *("fchmod", "fchown", "fchmod", "fsync"),  # four
        *("rename", "fsync", "unlink"),
    ]


def test_no_name_is_ever_wider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at before every step, with no umask to help."""
    os.umask(0)
    top = tmp_path / "run"
    top.mkdir(mode=0o755)
    seen = set()

    def act(_number: int, _name: str, _arguments: tuple[Any, ...]) -> None:
        for path in top.rglob("*"):
            name = whole_run.TEMPORARY.sub(r"\1~", path.name)
            seen.add((name, stat.S_IMODE(path.stat().st_mode), path.is_file() and path.stat().st_size > 0))

    watch(monkeypatch, Stage(act))
    run(*wanted(top))
    assert {each for each in seen if each[0].startswith(("one", "sub", "four"))} == {
        *(("sub~", 0o700, False), ("sub~", 0o750, False), ("sub", 0o750, False)),
        *(("one~", 0o600, False), ("one~", 0o640, False), ("one~", 0o640, True), ("one", 0o640, True)),
        *(("four~", 0o600, False), ("four~", 0o600, True), ("four", 0o600, True)),
    }


def chattr(flag: str, path: Path) -> None:
    subprocess.run(["chattr", flag, str(path)], check=True)


@as_root
@pytest.mark.parametrize("flag", ["i", "a"])
def test_what_cannot_be_replaced_leaves_everything_as_it_was(place: Path, flag: str) -> None:
    older(place)
    chattr(f"+{flag}", place / "etc/two")
    try:
        before = state(place)
        assert rejection(*wanted(place)) == (f"{place}/etc/two cannot be written: Operation not permitted; everything is as it was before.")
        assert state(place) == before
    finally:
        chattr(f"-{flag}", place / "etc/two")


@as_root
def test_what_cannot_be_mended_leaves_everything_as_it_was(place: Path) -> None:
    older(place)
    chattr("+i", place / "etc/four")
    try:
        before = state(place)
        assert rejection(*wanted(place)) == (f"{place}/etc/four cannot be written: Operation not permitted; everything is as it was before.")
        assert state(place) == before
    finally:
        chattr("-i", place / "etc/four")


def before_rename(number: int, work: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let work be done before the rename of this number, counted from one."""
    count = 0

    def act(_number: int, name: str, _arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if name == "rename":
            count += 1
            if count == number:
                work()

    watch(monkeypatch, Stage(act))


@as_root
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_rename_that_fails_midway(place: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The destination becomes immutable at the last moment: what was moved before it is put back."""
    older(place)
    before = state(place)
    names = ["sub", "one", "two", "sub/three"]  # in the order in which they are moved
    victim = place / "etc" if names[number] == "one" else place / "etc" / names[number]
    victim = victim.parent if names[number] == "sub/three" else victim
    before_rename(number + 1, lambda: chattr("+i", victim), monkeypatch)
    with pytest.raises(FilesError) as caught:
        try:
            run(*wanted(place))
        finally:
            chattr("-i", victim)
    assert str(caught.value).startswith(f"{place}/etc/{names[number]} cannot be written: Operation not permitted; ")
    after = state(place)
    if names[number] == "two":  # its second name is immutable too
        (second_name,) = set(after) - set(before)
        assert str(caught.value).endswith(f"; {second_name} could not be removed (Operation not permitted).")
        del after[second_name]
        assert after == before
    else:  # an immutable directory lets nothing be put back
        assert f"{place}/etc/sub could not be put back (Operation not permitted)" in str(caught.value)
    monkeypatch.undo()
    run(*wanted(place))
    all_is_well(place)


def test_a_directory_that_vanishes_midway(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "gone").mkdir()
    (place / "a").write_text("old\n")
    before = state(place)
    before_rename(2, lambda: subprocess.run(["rm", "-r", str(place / "gone")], check=True), monkeypatch)
    assert rejection(file(place / "a"), file(place / "gone/b")) == (
        f"{place}/gone/b cannot be written: No such file or directory; everything is as it was before."
    )
    assert state(place) == {path: found for path, found in before.items() if "gone" not in path}


def test_what_cannot_be_put_back_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody fills a directory that was made, and lays a directory over a file that was moved."""
    entries = [directory(place / "d"), file(place / "d/a"), file(place / "d/b")]

    def meddle() -> None:
        (place / "d/stranger").write_text("")
        (place / "d/b").mkdir()

    before_rename(3, meddle, monkeypatch)
    assert rejection(*entries) == (f"{place}/d/b cannot be written: Is a directory; {place}/d could not be put back (Directory not empty).")
    assert sorted(path.name for path in (place / "d").iterdir()) == ["b", "stranger"]


def test_interrupted_at_every_step(prepare: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends the run: everything as it was, or all of it, but for names that the next run removes."""

    def lasting(top: Path) -> State:
        return {path: found for path, found in state(top).items() if "nous-vm" not in path}

    taken = steps(tmp_path / "undisturbed", prepare, monkeypatch)
    for number in range(len(taken)):
        top = tmp_path / str(number)
        top.mkdir(mode=0o755)
        prepare(top)
        before = lasting(top)

        def act(step: int, _name: str, _arguments: tuple[Any, ...], number: int = number) -> None:
            if step == number:
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            watch(patch, Stage(act))
            with pytest.raises(KeyboardInterrupt):
                run(*wanted(top), validate=validators(top))
        after = lasting(top)
        assert after == before or {entry.path: entry.content for entry in wanted(top)} == {path: found[3] for path, found in after.items()}
        run(*wanted(top))
        all_is_well(top)


@pytest.mark.parametrize(
    ("content", "moment"),
    [("old\n", ["open"]), ("old\n", ["open", "link"]), ("new\n", ["open", "open"])],
    ids=["read", "kept", "mended"],
)
def test_a_file_that_is_swapped_for_a_link_leads_nowhere(place: Path, content: str, moment: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may write in the directory swaps the file after it was looked at: what the link leads to is left alone."""
    victim, path = place / "victim", place / "a"
    for each in (victim, path):
        each.write_text(content)
        each.chmod(0o600)
    before = (victim.stat().st_mode, 1, content)
    steps_on_it: list[str] = []

    def act(_number: int, name: str, arguments: tuple[Any, ...]) -> None:
        assert (victim.stat().st_mode, victim.stat().st_nlink, victim.read_text()) == before
        if name in ("open", "link") and arguments[0] == "a":
            steps_on_it.append(name)
            if steps_on_it == moment:
                path.unlink()
                path.symlink_to(victim)

    watch(monkeypatch, Stage(act))
    if moment[-1] == "link":  # the link itself is what is replaced
        run(file(path))
        assert not path.is_symlink()
    else:
        assert "Too many levels of symbolic links" in rejection(file(path))
        assert path.is_symlink()
    assert (victim.stat().st_mode, victim.stat().st_nlink, victim.read_text()) == before


def test_two_runs_take_turns(tmp_path: Path) -> None:
    """Two runs with different contents, again and again: what lies there is of one of them."""

    def racer(content: str) -> Callable[[], int]:
        entries = [file(tmp_path / f"{number}", content) for number in range(8)]

        def work() -> int:
            os.close(opener)
            os.read(gate, 1)
            for _round in range(RACES):
                run(*entries)
                # Under the same lock nobody else is at work.
                with disk.held(disk.workplace()):
                    contents = {path.read_text() for path in tmp_path.iterdir()}
                    names = {path.name for path in tmp_path.iterdir()}
                if len(contents) != 1 or names != {str(number) for number in range(8)}:
                    return 1
            return 0

        return work

    gate, opener = os.pipe()
    racers = [child(racer(content)) for content in ("one\n", "two\n", "three\n")]
    os.close(gate)
    os.close(opener)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in racers] == [0, 0, 0]
