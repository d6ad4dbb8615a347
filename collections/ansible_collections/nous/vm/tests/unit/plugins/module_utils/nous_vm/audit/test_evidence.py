# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The evidence of a log: what an honest host makes is whole whatever happens to it, and whatever root does to it afterwards is named."""

from __future__ import annotations

import json
import random
from pathlib import Path
from time import gmtime

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import cli, foreign
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit import lines, signing
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.chain import GENESIS, Chain, head_of, sha256
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.checkpoint import KIND, Checkpoint, checkpoint
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.audit.lines import archives
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key.jwk import render_jwks
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key.jws import payload
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.audit.evidence import LOG, Estate, encoded, record, signer
from hypothesis import given, settings
from hypothesis import strategies as st

KEY = signer()
LOG_PART = f"log {LOG}"


@pytest.fixture
def estate(tmp_path: Path) -> Estate:
    """Three days of a host, all of it whole."""
    made = Estate(tmp_path / "host", KEY)
    made.days()
    assert made.faults(keep=90) == {}
    return made


@pytest.fixture
def left(estate: Estate, tmp_path: Path) -> Path:
    """The checkpoints, as they had left the host."""
    return estate.copy(tmp_path / "left")


class TestHonest:
    @settings(max_examples=60, deadline=None, database=None)
    @given(st.lists(st.sampled_from(["write", "write", "sign", "sign", "rotate", "happen", "pin", "torn", "key"]), max_size=40), st.integers(1, 4))
    def test_whatever_happens_it_is_whole(self, tmp_path_factory: pytest.TempPathFactory, acts: list[str], keep: int) -> None:
        """Calls, checkpoints, rotations and changes of the key in any order; a run that is cut short while it writes; archives that expire."""
        estate = Estate(tmp_path_factory.mktemp("host"), KEY)
        estate.write()
        estate.sign()
        signed = True
        for act in acts:
            if act == "torn":
                with estate.checkpoints.open("ab") as file:
                    file.write(b"eyJhbGciOi")
            elif act == "key":
                estate.keys = [estate.keys[-1], signer()]
                estate.sign()
            elif act == "rotate":
                signed or estate.sign()  # it is called at each rotation: no more than two archives have come since
                estate.rotate(keep)
            else:
                getattr(estate, act)()
            signed = act in ("sign", "key")
        estate.sign()
        assert estate.faults() == {}

    def test_what_is_new_is_what_is_hashed(self, estate: Estate) -> None:
        """The bytes that are signed add up to those that are there: none twice, none left out."""
        covered = sum(one.logs[LOG].covers for one in _checkpoints(estate))
        assert covered == sum(len(b"".join(estate.lines(path.name))) for path in [*archives(estate.folder, LOG), estate.log])
        assert estate.sign() == []
        estate.write()
        (token,) = estate.sign()
        assert _read(token).logs[LOG].covers == len(estate.lines(LOG)[-1])

    def test_a_rotation_is_signed_though_nothing_is_new(self, estate: Estate) -> None:
        estate.rotate()
        (token,) = estate.sign()
        assert _read(token).logs[LOG].covers == 0

    def test_a_log_that_is_rotated_while_it_is_read_is_not_signed(self, estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
        estate.write(5)

        def rotated(line: bytes) -> str:
            estate.rotate()
            return head_of(line)

        monkeypatch.setattr(signing, "head_of", rotated)
        with pytest.raises(signing.Rotated, match="was rotated while it was read"):
            estate.sign()
        monkeypatch.undo()
        estate.sign()
        assert estate.faults() == {}

    def test_a_log_of_lines_without_hashes(self, tmp_path: Path) -> None:
        estate = Estate(tmp_path / "host", KEY)
        for number in range(3):
            with estate.log.open("ab") as log:
                log.write(b"".join(f"line {number} {each}\n".encode() for each in range(10)))
            estate.sign()
            estate.rotate()
        assert estate.faults() == {}
        lines = estate.lines(f"{LOG}.2.gz")
        estate.put(f"{LOG}.2.gz", [*lines[:3], b"line 1 x\n", *lines[4:]])
        assert estate.faults()[LOG_PART][:2] == (f"{LOG}.2.gz", 2)

    def test_what_expired_is_told_from_what_was_taken(self, tmp_path: Path) -> None:
        estate = Estate(tmp_path / "host", KEY)
        estate.days(5, keep=2)
        assert estate.faults(keep=2) == {}
        assert any("before the oldest that is here" in note for note in estate.verify()[LOG_PART].notes)
        archives(estate.folder, LOG)[0].unlink()
        assert estate.faults(keep=2)[LOG_PART][:2] == (f"{LOG}.1", 1)

    def test_a_key_that_was_lost_is_not_trusted(self, estate: Estate) -> None:
        estate.keys = [signer()]
        estate.write()
        estate.sign()
        assert "is signed by a key that is not trusted, and that none before it named" in estate.faults()["checkpoints"][2]

    def test_a_key_that_was_lost_and_its_successor_are_both_pinned(self, estate: Estate) -> None:
        """So it is of a host that was made of a backup; the one that was lost signs nothing afterwards."""
        old, new = estate.keys[-1], signer()
        estate.keys = [new]
        estate.write()
        estate.sign()
        estate.trusted |= {new.kid: new.jwk}
        assert estate.faults() == {}
        estate.keys = [old]
        estate.write()
        estate.sign()
        assert "that another one replaced" in estate.faults()["checkpoints"][2]

    def test_the_old_key_signs_nothing_once_another_replaced_it(self, estate: Estate) -> None:
        old = estate.keys[-1]
        estate.keys = [old, signer()]
        assert len(estate.sign()) == 2
        assert estate.faults() == {}
        estate.keys = [old]
        estate.write()
        estate.sign()
        assert "that another one replaced" in estate.faults()["checkpoints"][2]

    def test_nor_does_it_if_the_new_one_has_not_signed_yet(self, estate: Estate) -> None:
        old = estate.keys[-1]
        estate.keys = [old, signer()]
        estate.sign()
        estate.put("checkpoints.jws", estate.lines("checkpoints.jws")[:-1])
        estate.keys = [old]
        estate.write()
        estate.sign()
        assert "that another one replaced" in estate.faults()["checkpoints"][2]

    def test_what_had_left_may_begin_after_the_key_was_replaced(self, estate: Estate, tmp_path: Path) -> None:
        estate.keys.append(signer())
        for _minute in range(3):
            estate.write()
            estate.sign()
        lines = estate.lines("checkpoints.jws")
        (tmp_path / "left").write_bytes(b"of the journal\n" + lines[-1] * 2)
        assert estate.faults(tmp_path / "left") == {}
        estate.put("checkpoints.jws", lines[:-1])
        assert estate.faults(tmp_path / "left")["checkpoints"][:2] == ("left", 2)


def _read(token: str) -> Checkpoint:
    return checkpoint(payload(token))


def _checkpoints(estate: Estate) -> list[Checkpoint]:
    return [_read(line) for line in estate.checkpoints.read_text().split()]


class TestRoot:
    """Each of these is named with the file and the record, by what had left the host if need be."""

    def test_edits_a_record(self, estate: Estate) -> None:
        estate.edit(f"{LOG}.2.gz", 3, lambda made: made.update(tool="pong"))
        assert estate.faults()[LOG_PART] == (f"{LOG}.2.gz", 3, "is not what was written: its entry_hash is of another record")

    def test_hides_a_second_value_in_a_record(self, estate: Estate) -> None:
        """A reader that takes the first of two would read another thing than was hashed."""
        lines = estate.lines(f"{LOG}.1")
        estate.put(f"{LOG}.1", [lines[0], lines[1].replace(b"{", b'{"tool": "pong", ', 1), *lines[2:]])
        assert estate.faults(signed=False)[LOG_PART] == (f"{LOG}.1", 2, "is no JSON: a name stands twice")

    def test_edits_a_record_and_its_hash(self, estate: Estate) -> None:
        lines = estate.lines(f"{LOG}.1")
        old = json.loads(lines[4])
        lines[4] = encoded(record(old["number"], old["prev_hash"], denied=True))
        estate.put(f"{LOG}.1", lines)
        assert estate.faults(signed=False)[LOG_PART] == (f"{LOG}.1", 6, "does not link to the record before it")
        assert estate.faults()[LOG_PART][:2] == (f"{LOG}.1", 2)  # the first of those that one checkpoint signed together

    @pytest.mark.parametrize("number", [1, 2, 7])
    def test_drops_a_record(self, estate: Estate, number: int) -> None:
        lines = estate.lines(f"{LOG}.1")
        del lines[number - 1]
        estate.put(f"{LOG}.1", lines)
        assert estate.faults()[LOG_PART][:2] == (f"{LOG}.1", number)

    def test_drops_an_archive_of_a_log_without_hashes(self, tmp_path: Path) -> None:
        """Nothing but the checkpoints knows that it was there."""
        estate = Estate(tmp_path / "host", KEY)
        for number in range(4):
            with estate.log.open("ab") as log:
                log.write(b"".join(f"line {number} {each}\n".encode() for each in range(10)))
            estate.rotate()
            estate.sign()
        assert estate.faults() == {}
        (estate.folder / f"{LOG}.2.gz").unlink()
        assert estate.faults()[LOG_PART][:2] == (f"{LOG}.1", 1)

    def test_drops_an_archive(self, estate: Estate) -> None:
        (estate.folder / f"{LOG}.2.gz").unlink()
        assert estate.faults()[LOG_PART][:2] == (f"{LOG}.1", 1)

    def test_reorders_records(self, estate: Estate) -> None:
        lines = estate.lines(f"{LOG}.2.gz")
        lines[4], lines[5] = lines[5], lines[4]
        estate.put(f"{LOG}.2.gz", lines)
        assert estate.faults()[LOG_PART] == (f"{LOG}.2.gz", 5, "does not link to the record before it")

    def test_reorders_archives(self, estate: Estate) -> None:
        one, two = estate.lines(f"{LOG}.2.gz"), estate.lines(f"{LOG}.3.gz")
        estate.put(f"{LOG}.2.gz", two)
        estate.put(f"{LOG}.3.gz", one)
        assert estate.faults(signed=False)[LOG_PART] == (f"{LOG}.2.gz", 1, "begins a chain of its own")
        assert estate.faults()[LOG_PART][:2] == (f"{LOG}.2.gz", 1)

    @pytest.mark.parametrize("count", [1, 2])
    def test_truncates_the_log(self, estate: Estate, count: int) -> None:
        lines = estate.lines(LOG)
        estate.put(LOG, lines[:-count])
        faults = estate.faults()
        assert faults[LOG_PART][:2] == (LOG, len(lines) - count + 1)
        assert "bytes before where checkpoint" in faults[LOG_PART][2]
        assert estate.faults(signed=False) == {}  # the chain alone does not see it

    def test_removes_the_log(self, estate: Estate) -> None:
        for path in [*archives(estate.folder, LOG), estate.log]:
            path.unlink()
        estate.put(LOG, [])
        assert LOG_PART in estate.faults()

    def test_edits_the_trail(self, estate: Estate) -> None:
        lines = estate.lines("trail.jsonl")
        estate.put("trail.jsonl", [lines[0], lines[1].replace(b"rotated", b"nothing"), *lines[2:]])
        assert estate.faults(signed=False)["trail"] == ("trail.jsonl", 3, "does not name the line before it: that one was changed, or is gone")
        assert estate.faults()["trail"][:2] == ("trail.jsonl", 2)

    def test_edits_the_end_of_the_trail(self, estate: Estate) -> None:
        lines = estate.lines("trail.jsonl")
        estate.put("trail.jsonl", [*lines[:-1], lines[-1].replace(b"rotated", b"nothing")])
        assert estate.faults()["trail"][:2] == ("trail.jsonl", 3)
        estate.put("trail.jsonl", lines[:-1])
        assert estate.faults()["trail"][:2] == ("trail.jsonl", 3)
        estate.trail.unlink()
        assert estate.faults()["trail"][:2] == ("trail.jsonl", 0)

    def test_edits_an_anchor(self, estate: Estate) -> None:
        estate.edit("audit-anchors.jsonl", 2, lambda made: made.update(head="0" * 64))
        assert estate.faults()["anchors audit-anchors.jsonl"][:2] == ("audit-anchors.jsonl", 2)

    def test_reorders_the_days_of_the_anchors(self, estate: Estate) -> None:
        """With a chain of the anchors that is made anew: an anchor that names an older record than one before it."""
        heads = [json.loads(line)["head"] for line in estate.lines("audit-anchors.jsonl")]
        estate.put("audit-anchors.jsonl", [])
        estate.anchor = GENESIS
        for head in (heads[1], heads[0], heads[2]):
            estate.head = head
            estate.pin()
        assert estate.faults()["anchors audit-anchors.jsonl"][:2] == ("audit-anchors.jsonl", 2)

    def test_anchors_are_not_compared_with_a_log_that_is_broken(self, estate: Estate) -> None:
        estate.edit(f"{LOG}.3.gz", 2, lambda made: made.update(tool="pong"))
        assert list(estate.faults()) == [LOG_PART]
        assert estate.verify()["anchors audit-anchors.jsonl"].notes == ["not compared with a log that is broken"]

    def test_makes_the_log_anew_under_its_anchors(self, estate: Estate) -> None:
        estate.edit(f"{LOG}.1", 3, lambda made: made.update(tool="pong"))
        estate.recompute()
        assert estate.faults(signed=False)["anchors audit-anchors.jsonl"][:2] == ("audit-anchors.jsonl", 3)

    @pytest.mark.parametrize(("name", "number", "found"), [(f"{LOG}.3.gz", 6, 5), (f"{LOG}.1", 3, 2), (LOG, 3, 2), (f"{LOG}.3.gz", 1, 1)])
    def test_recomputes_a_whole_consistent_chain(self, estate: Estate, left: Path, name: str, number: int, found: int) -> None:
        """The named record is the first of those that one checkpoint signed together; with all checkpoints made anew by the host's own key."""
        estate.edit(name, number, lambda made: made.update(tool="pong"))
        estate.recompute()
        (estate.folder / "audit-anchors.jsonl").unlink()
        assert estate.faults()[LOG_PART][:2] == (name, found)
        estate.sign_anew()
        assert estate.faults() == {}  # consistent in itself: only what had left shows it
        assert estate.faults(left)[LOG_PART][:2] == (name, found)

    def test_restores_yesterdays_disk(self, estate: Estate, tmp_path: Path) -> None:
        estate.copy(tmp_path / "yesterday")
        estate.days(1)
        left = estate.copy(tmp_path / "left")
        yesterday = Estate(tmp_path / "yesterday", KEY)
        assert yesterday.faults() == {}
        faults = yesterday.faults(left)
        assert faults[LOG_PART][:2] == (LOG, 5)
        assert "an older state was restored" in faults["checkpoints"][2]

    def test_goes_on_from_yesterdays_disk(self, estate: Estate, tmp_path: Path) -> None:
        """With the key, as if nothing had been: another chain, from there on."""
        shape = vars(estate).copy()
        estate.copy(tmp_path / "yesterday")
        estate.days(1)
        left = estate.copy(tmp_path / "left")
        yesterday = Estate(tmp_path / "yesterday", KEY)
        yesterday.head, yesterday.number, yesterday.trail_head, yesterday.anchor = shape["head"], shape["number"] + 1000, shape["trail_head"], shape["anchor"]
        yesterday.days(2)
        assert yesterday.faults() == {}
        assert yesterday.faults(left)[LOG_PART][:2] == (f"{LOG}.2.gz", 5)

    def test_sets_the_clock(self, estate: Estate, left: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A clock that is wrong is signed like one that is right. What receives the journal knows; here only a step back is seen, and is no fault."""
        monkeypatch.setattr("time.gmtime", lambda: gmtime(4e9))
        estate.write()
        (ahead,) = estate.sign()
        assert (estate.faults(left), "clock" in str(estate.verify()["checkpoints"].notes)) == ({}, False)
        monkeypatch.setattr("time.gmtime", lambda: gmtime(1e9))
        estate.write()
        (behind,) = estate.sign()
        number = int(payload(behind)["sequence"])
        assert estate.faults(left) == {}
        assert estate.verify(left)["checkpoints"].notes[-1] == (
            f"the host's clock went back after checkpoint {number - 1} of {payload(ahead)['time']}, to 2001-09-09T01:46:40Z"
        )

    def test_edits_drops_and_cuts_checkpoints(self, estate: Estate, left: Path) -> None:
        lines = estate.lines("checkpoints.jws")
        estate.put("checkpoints.jws", [*lines[:3], lines[3][:-5] + b"AAAA\n", *lines[4:]])
        assert estate.faults()["checkpoints"][:2] == ("checkpoints.jws", 4)
        estate.put("checkpoints.jws", [*lines[:3], *lines[4:]])
        assert estate.faults()["checkpoints"][:2] == ("checkpoints.jws", 4)
        assert "4 is missing before it" in estate.faults()["checkpoints"][2]
        estate.put("checkpoints.jws", [*lines[:2], *lines[4:]])
        assert "3 to 4 are missing before it" in estate.faults()["checkpoints"][2]
        estate.put("checkpoints.jws", lines[:-1])
        assert estate.faults() == {}
        assert estate.faults(left)["checkpoints"][:2] == ("checkpoints.jws", len(lines))
        estate.put("checkpoints.jws", [])
        assert estate.faults()["checkpoints"][2] == "there are no checkpoints, and keys to verify them with"

    def test_signs_with_a_key_of_its_own(self, estate: Estate) -> None:
        estate.keys = [signer()]
        estate.sign_anew()
        assert estate.faults()["checkpoints"][:2] == ("checkpoints.jws", 1)

    def test_puts_an_archive_there_twice(self, estate: Estate) -> None:
        estate.put(f"{LOG}.4.gz", estate.lines(f"{LOG}.2.gz"))
        assert "is there twice" in estate.faults()[LOG_PART][2]

    def test_breaks_an_archive(self, estate: Estate) -> None:
        path = estate.folder / f"{LOG}.2.gz"
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        assert "cannot be read" in estate.faults()[LOG_PART][2]
        path.write_bytes(b"")
        assert estate.faults()[LOG_PART][1] == 1
        path.write_bytes(b"nothing of gzip")
        assert estate.faults()[LOG_PART] == (f"{LOG}.2.gz", 1, "cannot be read: Not a gzipped file (b'no')")

    def test_leaves_a_record_without_its_end_or_its_hash(self, estate: Estate) -> None:
        lines = estate.lines(f"{LOG}.1")
        estate.put(f"{LOG}.1", [*lines[:-1], lines[-1][:-5]])
        assert estate.faults(signed=False)[LOG_PART] == (f"{LOG}.1", len(lines), "is not complete")
        estate.edit(f"{LOG}.2.gz", 2, lambda made: made.pop("entry_hash"))
        assert estate.faults(signed=False)[LOG_PART] == (f"{LOG}.2.gz", 2, "has no entry_hash")
        estate.put(f"{LOG}.3.gz", [b"[1]\n", *estate.lines(f"{LOG}.3.gz")[1:]])
        assert estate.faults(signed=False)[LOG_PART] == (f"{LOG}.3.gz", 2, "links to a record that is not there")

    def test_writes_a_line_without_end(self, estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lines, "LIMIT", 1000)
        with estate.log.open("ab") as log:
            log.write(b"x" * 1001)
        assert estate.faults()[LOG_PART] == (LOG, 5, "has a line of more than 1000 bytes")
        with pytest.raises(NousVmError, match="has more than 1000 bytes"):
            monkeypatch.setattr(foreign, "SEARCH", 500)
            estate.sign()

    def test_writes_something_else_among_the_checkpoints(self, estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
        content = estate.lines("checkpoints.jws")
        estate.put("checkpoints.jws", [*content[:3], b"x" * 20000 + b"\n", *content[3:]])
        assert estate.faults() == {}
        assert "1 lines were cut short while they were written" in estate.verify()["checkpoints"].notes
        estate.put("checkpoints.jws", [*content, b"x\n"])
        assert estate.faults()["checkpoints"][:2] == ("checkpoints.jws", len(content) + 1)
        monkeypatch.setattr(lines, "TAIL", 100)
        with pytest.raises(NousVmError, match="somebody else wrote to them"):
            estate.sign()

    @pytest.mark.parametrize(
        "change",
        [
            {"more": 1},
            {"sequence": True},
            {"host": 5},
            {"logs": {LOG: {}}},
            {"logs": {LOG: {"segment": "", "size": -1, "covers": 0, "sha256": "", "head": ""}}},
            {"next_key": 1},
            {"machine": "one"},
            {"machine": {"id": 5}},
        ],
    )
    def test_signs_what_is_no_checkpoint(self, estate: Estate, change: dict[str, object]) -> None:
        with estate.checkpoints.open("a") as file:
            file.write(KEY.sign(_checkpoints(estate)[-1].claims() | change, KIND) + "\n")
        assert "does not say what a checkpoint says" in estate.faults()["checkpoints"][2]

    def test_claims_another_head(self, estate: Estate) -> None:
        claims = _checkpoints(estate)[-1]
        before = sha256(estate.lines("checkpoints.jws")[-1].strip())
        piece = claims.logs[LOG]._replace(covers=0, sha256=sha256(b""), head="0" * 64)
        with estate.checkpoints.open("a") as file:
            file.write(KEY.sign(claims._replace(sequence=claims.sequence + 1, previous=before, logs={LOG: piece}).claims(), KIND) + "\n")
        assert "signed another record" in estate.faults()[LOG_PART][2]

    def test_lets_the_log_lag_behind_what_it_signs(self, estate: Estate) -> None:
        """A checkpoint that claims bytes that are not there is no cover for what is missing."""
        claims = _checkpoints(estate)[-1]
        piece = claims.logs[LOG]._replace(size=claims.logs[LOG].size + 7)
        with estate.checkpoints.open("a") as file:
            before = sha256(estate.lines("checkpoints.jws")[-1].strip())
            file.write(KEY.sign(claims._replace(sequence=claims.sequence + 1, previous=before, logs={LOG: piece}).claims(), KIND) + "\n")
        assert "ends 7 bytes before where checkpoint" in estate.faults()[LOG_PART][2]


def test_a_random_change_of_a_byte_is_seen(estate: Estate) -> None:
    """Any byte of any file: the part is named."""
    chance = random.Random(17)
    for path in sorted(estate.folder.iterdir()):
        for _round in range(25):
            content = path.read_bytes()
            at = chance.randrange(len(content) - 1)
            path.write_bytes(content[:at] + bytes([content[at] ^ 1 << chance.randrange(7)]) + content[at + 1 :])
            header = path.suffix == ".gz" and at < 10  # time and system of gzip's header are nobody's content
            assert header or estate.faults(), f"{path.name}: byte {at}"
            path.write_bytes(content)


def test_memory_and_time_grow_with_the_log_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is read once, however many checkpoints there are."""
    estate = Estate(tmp_path / "host", KEY)
    for _minute in range(40):
        estate.write(10)
        estate.sign()
    follow, count = Chain.follow, []

    def counted(chain: Chain, line: bytes) -> object:
        count.append(len(line))
        return follow(chain, line)

    monkeypatch.setattr(Chain, "follow", counted)
    assert estate.faults() == {}
    assert len(count) == 400


class TestCommand:
    def test_a_folder(self, estate: Estate, left: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        jwks = tmp_path / "jwks.json"
        jwks.write_bytes(render_jwks([KEY.jwk]))
        words = ["audit", "verify", str(estate.folder), "--jwks", str(jwks), "--left", str(left)]
        assert cli.main(words) == 0
        assert f"whole   {LOG_PART}: 4 files" in capsys.readouterr().out
        estate.edit(f"{LOG}.2.gz", 3, lambda made: made.update(tool="pong"))
        assert cli.main([*words, "--json"]) == 1
        found = json.loads(capsys.readouterr().out)
        assert not found["whole"]
        assert found["parts"][0]["segment"] == f"{LOG}.2.gz"
        assert found["parts"][0]["record"] == 3
        assert found["message"].startswith(f"BROKEN  {LOG_PART}: {LOG}.2.gz, record 3: is not what was written")

    def test_what_is_wrong_with_the_call(self, estate: Estate, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["audit", "verify", str(estate.folder)]) == 2
        assert "there are checkpoints: --jwks FILE says whose" in capsys.readouterr().err
        assert cli.main(["audit", "verify", str(tmp_path / "left")]) == 2
        (tmp_path / "keys").write_bytes(render_jwks([]))
        assert cli.main(["audit", "verify", str(estate.folder), "--jwks", str(tmp_path / "keys")]) == 2
        assert "holds no key" in capsys.readouterr().err
        (tmp_path / "keys").write_bytes(render_jwks([{**KEY.jwk, "kid": "another"}]))
        assert cli.main(["audit", "verify", str(estate.folder), "--jwks", str(tmp_path / "keys")]) == 2
        assert "is not its thumbprint" in capsys.readouterr().err
