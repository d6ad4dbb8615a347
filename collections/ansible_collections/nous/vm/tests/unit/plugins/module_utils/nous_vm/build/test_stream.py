# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a sandbox hands root: what was sent comes out the same, and nothing that a hostile sender writes leads root anywhere."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build import stream
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.stream import Receiver, finish, read, send
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import ForeignError
from hypothesis import given, settings
from hypothesis import strategies as st

END: dict[str, Any] = {"kind": "result"}


def sent(*entries: Any) -> io.BytesIO:
    """Return a stream of entries, and of bytes as they are."""
    return io.BytesIO(b"".join(each if isinstance(each, bytes) else json.dumps(each).encode() + b"\n" for each in entries))


def file(path: str, content: bytes = b"x", **more: Any) -> list[Any]:
    return [{"path": path, "kind": "f", "size": len(content)} | more, content]


def test_what_was_sent_comes_out_the_same(tmp_path: Path) -> None:
    made, got = tmp_path / "made", tmp_path / "got"
    (made / "venv/bin").mkdir(parents=True, mode=0o700)
    (made / "venv/lib").mkdir()
    (made / "venv/lib64").symlink_to("lib")
    (made / "venv/bin/python").symlink_to("/usr/bin/python3")
    (made / "venv/bin/tool").write_bytes(b"#!" + b"x" * (3 << 20))
    (made / "venv/bin/tool").chmod(0o4700)
    (made / "venv/empty").touch(0o600)
    (made / "constraints.txt").touch()
    (made / "left-out").touch()
    out = io.BytesIO()
    send(made, ["venv", "constraints.txt"], out)
    finish(out, {"lock": "fits"})
    got.mkdir()
    receiver = Receiver(got, 4 << 20, ["/usr/bin/python3"])
    assert receiver.receive(io.BytesIO(out.getvalue()))["lock"] == "fits"
    (made / "left-out").unlink()
    (made / "venv/bin/tool").chmod(0o755)
    assert receiver.lines.tree() == read(got) == read(made)
    assert read(got, contents=False)[1:] == read(got)[1:]
    assert [path.lstat().st_mode & 0o7777 for path in (got / "venv/bin", got / "venv/bin/tool", got / "venv/empty")] == [0o755, 0o755, 0o644]
    assert not (got / "left-out").exists()


@pytest.mark.parametrize("change", ["content", "mode", "more", "fewer", "name", "link"])
def test_a_digest_sees_every_change(tmp_path: Path, change: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("folder")
    if change == "link":
        (tmp_path / "other link").symlink_to("folder/file")
    before = read(tmp_path, ["other link"])
    acts = {
        "content": lambda: (tmp_path / "folder/file").write_bytes(b"y"),
        "mode": lambda: (tmp_path / "folder/file").chmod(0o755),
        "more": (tmp_path / "other").mkdir,
        "fewer": (tmp_path / "link").unlink,
        "name": lambda: (tmp_path / "folder").rename(tmp_path / "fold"),
        "link": lambda: os.replace(tmp_path / "other link", tmp_path / "link"),
    }
    acts[change]()  # type: ignore[no-untyped-call]
    assert read(tmp_path) != before
    assert read(tmp_path, ["folder", "fold", "link", "other"]).entries in (0, 1)


HOSTILE: dict[str, list[Any]] = {
    "way out": [file("../x"), "no path below"],
    "way out in the middle": [[{"path": "a", "kind": "d"}, *file("a/../../x")], "no path below"],
    "absolute": [file("/etc/x"), "no path below"],
    "no name": [file(""), "no path below"],
    "not a name": [[{"path": 3, "kind": "d"}], "no path below"],
    "zero": [file("a\0b"), "no path below"],
    "twice": [[*file("a"), *file("a")], "comes twice"],
    "no folder": [file("a/b"), "before its folder"],
    "through a link": [[{"path": "a", "kind": "l", "content": "."}, *file("a/b")], "before its folder"],
    "link away": [[{"path": "a", "kind": "l", "content": "/etc"}], "outside"],
    "link up": [[{"path": "a", "kind": "l", "content": "../x"}], "outside"],
    "link down and up": [[{"path": "a", "kind": "l", "content": "b/../../x"}], "outside"],
    "link of nothing": [[{"path": "a", "kind": "l", "content": ""}], "outside"],
    "FIFO": [[{"path": "a", "kind": "p"}], "neither a file"],
    "size below nothing": [[{"path": "a", "kind": "f", "size": -1}], "neither a file"],
    "no size": [[{"path": "a", "kind": "f", "size": "1"}], "neither a file"],
    "giant": [[{"path": "a", "kind": "f", "size": 1 << 40}], "larger than there is room"],
    "many that are too large together": [[*file("a", b"x" * 60), *file("b", b"x" * 60)], "larger than there is room"],
    "cut short": [[{"path": "a", "kind": "f", "size": 9}, b"x"], "in the middle of a file"],
    "no end": [[{"path": "a", "kind": "d"}], "ended in the middle"],
    "nothing": [[], "ended in the middle"],
    "no JSON": [[b"x\n"], "not JSON"],
    "a long name": [[{"path": "a" * 5000, "kind": "d"}], "no path below"],
    "a long line": [[{"path": "a", "kind": "d", "more": "x" * stream.HEADER}], "more than"],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_streams(tmp_path: Path, name: str) -> None:
    entries, words = HOSTILE[name]
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(ForeignError, match=words):
        Receiver(folder, 100).receive(sent(*entries, *([END] if name not in ("no end", "nothing", "cut short") else [])))
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_an_answer_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record of 1 GB, say; and a million files."""
    monkeypatch.setattr(stream, "RESULT", 1000)
    with pytest.raises(ForeignError, match="too large"):
        Receiver(tmp_path, 100).receive(sent(END | {"more": "x" * 1000}))
    monkeypatch.setattr(stream, "ENTRIES", 2)
    with pytest.raises(ForeignError, match="more than 2 entries"):
        Receiver(tmp_path, 100).receive(sent(*({"path": str(number), "kind": "d"} for number in range(3))))


@given(st.lists(st.sampled_from(["..", ".", "a", "b", ""]), max_size=6), st.integers(0, 3))
@settings(max_examples=200)
def test_a_link_that_stays_stays(parts: list[str], depth: int) -> None:
    """Wherever links in the folder lead that are accepted: none goes above it."""
    name, target = "/".join(["a"] * depth + ["link"]), "/".join(parts)
    if stream.stays(name, target):
        assert not target.startswith("/")
        assert os.path.normpath(os.path.join("/".join(["a"] * depth), target)).split("/")[0] != ".."


def test_what_is_not_a_file_is_not_sent_and_is_damage(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for act in (lambda: send(tmp_path, ["fifo"], io.BytesIO()), lambda: read(tmp_path), lambda: stream.digest(tmp_path / "fifo")):
        with pytest.raises(ForeignError, match="not a regular file"):
            act()
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "absent")
