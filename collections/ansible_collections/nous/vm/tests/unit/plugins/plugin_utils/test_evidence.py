# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetching the evidence of a host: the copy only grows, a second run fetches nothing, and what the host has otherwise is named."""

from __future__ import annotations

import base64
import contextlib
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.nous.vm.plugins.action.fetch_audit import ActionModule
from ansible_collections.nous.vm.plugins.module_utils import _audit_evidence as on_host
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit import checkpoint_rows
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key.jwk import render_jwks
from ansible_collections.nous.vm.plugins.plugin_utils import evidence
from ansible_collections.nous.vm.plugins.plugin_utils.evidence import Copy, Update, append, plain
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.audit.evidence import LOG, Estate, configuration, signer

KEY = signer()


class Pair:
    """A host, and its copy on a controller."""

    def __init__(self, folder: Path) -> None:
        self.host = Estate(folder / "host", KEY)
        self.host.checkpoints.rename(folder / "host/checkpoints-x.jws")
        self.host.checkpoints = folder / "host/checkpoints-x.jws"
        self.copy = folder / "copy"
        self.publish(KEY.jwk)

    def publish(self, *keys: dict[str, Any]) -> None:
        (self.host.folder / "jwks.json").write_bytes(render_jwks(list(keys)))
        (self.host.folder / "x.checkpoints").write_text(json.dumps({"jwks": str(self.host.folder / "jwks.json"), "key": "", "keep": 90}))

    def read(self, key: str, start: int, size: int) -> bytes:
        found = on_host.piece("x", key, start, size)
        return zlib.decompress(base64.b64decode(found)) if found else b""

    def fetch(self, dry: bool = False) -> Update:
        copy = Copy(self.copy)
        files = on_host.listing("x", copy.known())
        copy.pin(on_host.published("x"))
        update = Update(copy, self.read, dry)
        update.take(files)
        return update

    def whole(self) -> list[str]:
        """Return the parts of the copy that are not whole."""
        return [f"{each['part']}: {each['segment']} {each['record']}: {each['sentence']}" for each in Copy(self.copy).verify() if not each["whole"]]

    def content(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.copy)): path.read_bytes() for path in sorted(self.copy.rglob("*")) if path.is_file()}


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    made = Pair(tmp_path)
    host = made.host.folder
    config = configuration(host, anchors=("audit-anchors.jsonl",))
    monkeypatch.setattr(on_host, "named", lambda _name: config)
    monkeypatch.setattr(on_host, "TRAIL", host / "trail.jsonl")
    monkeypatch.setattr(checkpoint_rows, "FOLDER", host)
    made.host.days(2)
    return made


def test_a_second_run_fetches_nothing(pair: Pair) -> None:
    dry = pair.fetch(dry=True).fetched
    assert not pair.copy.exists() or list(pair.content()) == ["jwks.json"]
    first = pair.fetch()
    assert first.fetched == dry
    assert len(first.fetched) == 6
    assert pair.whole() == []
    before = pair.content()
    assert pair.fetch().fetched == {}
    assert pair.content() == before
    assert pair.copy.stat().st_mode & 0o777 == 0o700
    assert (pair.copy / "trail.jsonl").stat().st_mode & 0o777 == 0o600


def test_the_copy_only_grows_over_rotations_and_what_expires(pair: Pair) -> None:
    """Also where it was fetched before a rotation that moved the last record."""
    for _day in range(4):
        pair.fetch()
        before = pair.content()
        pair.host.rotate(keep=2)
        pair.host.sign()
        update = pair.fetch()
        assert update.differs == []
        pair.host.days(1, keep=2)
        update = pair.fetch()
        assert update.differs == []
        after = pair.content()
        assert all(after[name].startswith(content) for name, content in before.items())
        assert pair.whole() == []
    assert len(pair.host.lines(LOG)) == 4
    assert len([name for name in pair.content() if name.startswith("logs")]) > 6


def test_pieces_are_put_together(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "PIECE", 100)
    pair.fetch()
    assert pair.whole() == []


def test_a_run_that_was_interrupted_is_gone_on_with(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "PIECE", 100)
    interrupted = set()

    def read(key: str, start: int, size: int) -> bytes:
        """End the run at the second piece of each file: in the middle of its first record."""
        if start and key not in interrupted:
            interrupted.add(key)
            raise KeyboardInterrupt
        return pair.read(key, start, size)

    for _run in range(6):
        copy = Copy(pair.copy)
        with contextlib.suppress(KeyboardInterrupt):
            Update(copy, read, False).take(on_host.listing("x", copy.known()))
    assert len(interrupted) == 6
    assert pair.fetch().differs == []
    assert pair.whole() == []
    assert len([name for name in pair.content() if name.startswith("logs")]) == 3


class TestTheHostHasItOtherwise:
    def test_a_record(self, pair: Pair) -> None:
        pair.fetch()
        before = pair.content()
        pair.host.edit(f"{LOG}.1", 5, lambda made: made.update(tool="pong"))
        (sentence,) = pair.fetch().differs
        assert sentence.endswith(": record 5 is not what was fetched")
        assert pair.content() == before
        assert pair.whole() == []

    def test_a_whole_chain(self, pair: Pair) -> None:
        pair.fetch()
        before = pair.content()
        pair.host.edit(f"{LOG}.2.gz", 3, lambda made: made.update(tool="pong"))
        pair.host.recompute()
        pair.host.sign_anew()
        sentences = pair.fetch().differs
        assert sentences[0] == "checkpoints.jws: record 1 is not what was fetched"
        assert sentences[1].endswith(": record 3 is not what was fetched")
        after = pair.content()
        assert all(after[name] == content for name, content in before.items())
        assert "log audit.jsonl" in pair.whole()[0]

    def test_yesterdays_disk(self, pair: Pair, tmp_path: Path) -> None:
        pair.host.copy(tmp_path / "yesterday")
        pair.host.write(4)
        pair.host.sign()
        pair.fetch()
        for path in (tmp_path / "yesterday").iterdir():
            (pair.host.folder / path.name).write_bytes(path.read_bytes())
        sentences = pair.fetch().differs
        assert sentences[0].startswith("checkpoints.jws: from record ")
        assert sentences[1].startswith(f"logs/{LOG}/000003-")
        assert sentences[1].endswith(".jsonl: from record 5 on, what was fetched is not there any more")

    def test_a_piece_that_is_gone_meanwhile(self, pair: Pair) -> None:
        copy = Copy(pair.copy)
        with pytest.raises(NousVmError, match="is rotated again and again"):
            Update(copy, lambda _key, _start, _size: b"", False).take(on_host.listing("x", {}))
        assert on_host.piece("x", "log/another/", 0, 5) is None


class TestKey:
    def test_it_is_pinned_once(self, pair: Pair) -> None:
        copy = Copy(pair.copy)
        assert copy.pin(on_host.published("x")).startswith(f"pinned {KEY.kid} at this first run")
        assert copy.pin(on_host.published("x")) == ""
        other = signer()
        pair.publish(other.jwk, KEY.jwk)
        assert copy.pin(on_host.published("x")).startswith(f"the host publishes {other.kid}, {KEY.kid} now, and {KEY.kid} is pinned")
        assert copy.pin("x") == f"the host publishes something that is no JWK set now, and {KEY.kid} is pinned: " + copy.pin("{}").partition("pinned: ")[2]
        assert copy.pin("") == "the host signs no checkpoints any more, though a key of it is pinned"
        assert json.loads((pair.copy / "jwks.json").read_bytes())["keys"] == [KEY.jwk]

    def test_one_that_the_pinned_key_vouched_for_is_trusted(self, pair: Pair) -> None:
        pair.fetch()
        new = signer()
        pair.publish(new.jwk, KEY.jwk)
        pair.host.keys.append(new)
        pair.host.write()
        pair.host.sign()
        pair.fetch()
        assert pair.whole() == []

    def test_one_that_it_did_not_is_not(self, pair: Pair) -> None:
        pair.fetch()
        pair.host.keys = [signer()]
        pair.publish(pair.host.keys[0].jwk)
        pair.host.write()
        pair.host.sign()
        pair.fetch()
        assert "is signed by a key that is not trusted" in pair.whole()[0]

    def test_without_checkpoints(self, pair: Pair) -> None:
        (pair.host.folder / "x.checkpoints").unlink()
        pair.host.checkpoints.unlink()
        assert Copy(pair.copy).pin(on_host.published("x")) == "the host signs no checkpoints"
        pair.fetch()
        assert pair.whole() == []


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "a\x1b"])
def test_names_of_the_host_are_no_paths(name: str, tmp_path: Path) -> None:
    with pytest.raises(NousVmError, match="the host names a file"):
        plain(name)
    with pytest.raises(NousVmError):
        Copy(tmp_path).place("anchors", name, "")


def test_a_link_in_the_copy_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "trail.jsonl").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic"):
        append(tmp_path / "trail.jsonl", b"x")
    assert not (tmp_path / "victim").exists()


class TestAction:
    @pytest.fixture
    def action(self, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> ActionModule:
        made = ActionModule.__new__(ActionModule)

        def execute(module_name: str, module_args: dict[str, Any], task_vars: object) -> dict[str, Any]:
            assert module_name == "nous.vm.audit_evidence"
            if piece := module_args.get("piece"):
                return {"content": on_host.piece("x", piece["key"], piece["start"], piece["size"])}
            return {"files": on_host.listing("x", module_args["known"]), "jwks": on_host.published("x")}

        monkeypatch.setattr(made, "_execute_module", execute, raising=False)
        monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda *_arguments: {})
        monkeypatch.setattr(made, "_task", type("Task", (), {"check_mode": False, "args": {"directory": str(pair.copy)}})(), raising=False)
        monkeypatch.setattr(made, "validate_argument_spec", lambda argument_spec: (None, {"name": "x", **made._task.args}), raising=False)
        return made

    def test_it_fetches_and_verifies(self, action: ActionModule, pair: Pair) -> None:
        done = action.run(None, {})
        assert (done["changed"], done["whole"], done["differs"], len(done["fetched"])) == (True, True, [], 6)
        again = action.run(None, {})
        assert (again["changed"], again["whole"], again["key"], again["fetched"]) == (False, True, "", {})
        pair.host.edit(f"{LOG}.1", 5, lambda made: made.update(tool="pong"))
        assert not action.run(None, {})["whole"]

    def test_a_rotation_meanwhile(self, action: ActionModule, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
        """What was listed as the log is an archive by the time that it is read, without its last record: it is listed anew."""
        pair.fetch()
        pair.host.write(3)
        piece = on_host.piece
        rotations: list[int] = []

        def rotated(name: str, key: str, start: int, size: int) -> str | None:
            if key.startswith("log/") and not rotations:
                pair.host.rotate()
                rotations.append(start)
            return piece(name, key, start, size)

        monkeypatch.setattr(on_host, "piece", rotated)
        done = action.run(None, {})
        assert (done["whole"], done["differs"], len(rotations)) == (True, [], 1)
        monkeypatch.setattr(on_host, "piece", lambda *_arguments: None)
        pair.host.write(3)
        with pytest.raises(AnsibleActionFail, match="again and again"):
            action.run(None, {})

    def test_check_mode_writes_nothing(self, action: ActionModule, pair: Pair) -> None:
        action._task.check_mode = True
        done = action.run(None, {})
        assert (done["changed"], len(done["fetched"])) == (True, 6)
        assert not pair.copy.exists()

    def test_failures(self, action: ActionModule, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(action, "_execute_module", lambda **_arguments: {"failed": True, "msg": "no"})
        with pytest.raises(AnsibleActionFail, match="no"):
            action.run(None, {})
        action._task.args = {"directory": "audit"}
        with pytest.raises(AnsibleActionFail, match="allowed is an absolute path"):
            action.run(None, {})
