# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What _oauth_key publishes, and how one key follows another without a gap."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils import _oauth_key_files
from ansible_collections.nous.vm.plugins.module_utils._oauth_key import KeySpec, Outcome, ensure_key, examine_key
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key import jwk
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key.jwk import KeyProblem, parse_jwks, read_pem

DAY = 86400
ALL_ACTIONS = ["make_next_key", "publish_key", "activate_key"]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def spec(tmp_path: Path) -> KeySpec:
    owner, group = str(os.geteuid()), str(os.getegid())
    return KeySpec(
        path=str(tmp_path / "etc/keys/signing.pem"),
        owner=owner,
        group=group,
        jwks_path=str(tmp_path / "etc/jwks.json"),
        jwks_owner=owner,
        jwks_group=group,
    )


class Set:
    """A key set on disk, seen from outside."""

    def __init__(self, spec: KeySpec) -> None:
        self.spec = spec
        self.path, self.jwks = Path(spec.path), Path(spec.jwks_path or "")
        self.next = Path(f"{spec.path}.next")

    def run(self, check: bool = False, **changes: Any) -> Outcome:
        return ensure_key(dataclasses.replace(self.spec, **changes), check)

    def begin(self, **changes: Any) -> Outcome:
        return self.run(rotation="begin", **changes)

    def finish(self, **changes: Any) -> Outcome:
        return self.run(rotation="finish", **changes)

    def age(self, days: float) -> None:
        """Let time pass: all times of the set become older."""
        for path in (self.path, self.next):
            if path.exists():
                then = path.stat().st_mtime - days * DAY
                os.utime(path, (then, then))
        keys = self.entries()
        for key in keys:
            if "exp" in key:
                key["exp"] -= int(days * DAY)
        self.write(keys)

    def entries(self) -> list[dict[str, Any]]:
        keys: list[dict[str, Any]] = json.loads(self.jwks.read_text(encoding="ascii"))["keys"]
        return keys

    def write(self, keys: object) -> None:
        self.jwks.write_text(json.dumps({"keys": keys}), encoding="ascii")

    def kids(self) -> list[str]:
        return [key["kid"] for key in self.entries()]

    def signs(self) -> str:
        return read_pem(self.path.read_bytes(), None).kid

    def tree(self) -> dict[str, tuple[Any, ...]]:
        found = {}
        for path in sorted(self.path.parents[1].rglob("*")):
            status = path.lstat()
            content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
            found[str(path)] = (status.st_ino, status.st_mode, status.st_uid, status.st_mtime_ns, content)
        return found


@pytest.fixture
def made(spec: KeySpec) -> Set:
    """A key set as the first run leaves it."""
    ensure_key(spec, False)
    return Set(spec)


@pytest.fixture
def old(made: Set) -> Set:
    """A key set whose key may be rotated."""
    made.age(8)
    return made


@pytest.fixture
def interrupted(old: Set, monkeypatch: pytest.MonkeyPatch) -> Set:
    """A rotation that got as far as publishing."""

    def killed(_self: object, _other: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_oauth_key_files.Name, "move_onto", killed)
        with pytest.raises(KeyboardInterrupt):
            old.begin()
    assert old.next.exists()
    return old


class TestPublish:
    @pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
    def test_the_first_key(self, spec: KeySpec, algorithm: str) -> None:
        one = Set(dataclasses.replace(spec, algorithm=algorithm, size=2048))
        outcome = one.run()
        assert outcome.actions == ["create_directory", "create_key", "write_jwks"]
        assert outcome.key is not None
        assert one.entries() == [outcome.key.jwk]
        assert {name: one.entries()[0][name] for name in ("kid", "use", "alg")} == {
            "kid": one.signs(),
            "use": "sig",
            "alg": algorithm,
        }
        assert not {"d", "p", "q"} & set(one.entries()[0])
        assert one.run().actions == []
        assert outcome.before["jwks"] == "absent"
        assert outcome.after["jwks"]["keys"] == [f"{one.signs()} {algorithm}"]

    @pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
    def test_who_may_read_it(self, spec: KeySpec, umask: int, mode: int) -> None:
        previous = os.umask(umask)
        try:
            ensure_key(dataclasses.replace(spec, jwks_mode=mode), False)
        finally:
            os.umask(previous)
        jwks = Path(spec.jwks_path or "")
        assert stat.S_IMODE(jwks.stat().st_mode) == mode
        assert stat.S_IMODE(jwks.parent.stat().st_mode) == 0o755

    @pytest.mark.parametrize("below", ["etc/public/deep/jwks.json", "elsewhere/jwks.json", "etc/keys/jwks.json"])
    def test_wherever_it_lies(self, spec: KeySpec, tmp_path: Path, below: str) -> None:
        one = Set(dataclasses.replace(spec, jwks_path=str(tmp_path / below)))
        foretold = one.run(check=True).actions
        assert one.run().actions == foretold == ["create_directory", "create_key", "write_jwks"]
        assert one.kids() == [one.signs()]
        assert one.run().actions == []

    def test_a_directory_that_only_the_set_needs(self, made: Set, tmp_path: Path) -> None:
        elsewhere = Set(dataclasses.replace(made.spec, jwks_path=str(tmp_path / "www/jwks.json")))
        foretold = elsewhere.run(check=True).actions
        assert elsewhere.run().actions == foretold == ["create_directory", "write_jwks"]
        assert stat.S_IMODE((tmp_path / "www").stat().st_mode) == 0o755

    @as_root
    def test_its_owner(self, spec: KeySpec) -> None:
        ensure_key(dataclasses.replace(spec, jwks_owner="4242", jwks_group="4343"), False)
        status = Path(spec.jwks_path or "").stat()
        assert (status.st_uid, status.st_gid) == (4242, 4343)

    def test_it_comes_back_if_it_is_lost(self, made: Set) -> None:
        made.jwks.unlink()
        assert made.run(check=True).actions == ["write_jwks"]
        assert made.run().actions == ["write_jwks"]
        assert made.kids() == [made.signs()]

    def test_a_member_that_somebody_changed_is_put_right(self, made: Set) -> None:
        wanted = made.entries()
        made.write([{**wanted[0], "alg": "none", "exp": 1}])
        assert made.run().actions == ["write_jwks"]
        assert made.entries() == wanted

    def test_others_are_left_alone(self, made: Set) -> None:
        other = {"kty": "OKP", "kid": "other", "alg": "EdDSA", "exp": 1}
        made.write([other, *made.entries()])
        before = made.tree()
        assert made.run().actions == []
        assert made.tree() == before

    @pytest.mark.parametrize("mode", [0o644, 0o600])
    def test_wrong_mode_is_mended(self, made: Set, mode: int) -> None:
        made.jwks.chmod(mode)
        before = made.entries()
        assert made.run(check=True).actions == ["set_permissions"]
        assert stat.S_IMODE(made.jwks.stat().st_mode) == mode
        outcome = made.run()
        assert (outcome.actions, outcome.warnings) == (["set_permissions"], [])
        assert (outcome.before["jwks"]["mode"], outcome.after["jwks"]["mode"]) == (f"{mode:04o}", "0640")
        assert (stat.S_IMODE(made.jwks.stat().st_mode), made.entries()) == (0o640, before)

    def test_both_modes_are_mended(self, made: Set) -> None:
        made.jwks.chmod(0o600)
        made.path.chmod(0o400)
        assert made.run().actions == ["set_permissions"]
        assert [stat.S_IMODE(path.stat().st_mode) for path in (made.path, made.jwks)] == [0o600, 0o640]

    def test_one_that_others_could_write_to_is_a_concern(self, made: Set) -> None:
        made.jwks.chmod(0o666)
        outcome = made.run()
        assert outcome.actions == ["set_permissions"]
        assert outcome.warnings == [
            (
                f"{made.jwks} ({' '.join(outcome.before['jwks'][name] for name in ('owner', 'group', 'mode'))}) could be "
                f"written to by more than was requested: look whether each of its keys is yours: {made.signs()}."
            )
        ]

    @as_root
    def test_one_that_belonged_to_somebody_else_is_a_concern(self, made: Set) -> None:
        os.chown(made.jwks, 4242, 4343)
        assert "look whether each of its keys is yours" in made.run().warnings[0]
        assert made.jwks.stat().st_uid == os.geteuid()

    def test_check_mode_on_a_bare_host(self, spec: KeySpec, tmp_path: Path) -> None:
        named = dataclasses.replace(spec, jwks_owner="nobody-yet", jwks_group="nobody-yet")
        outcome = ensure_key(named, True)
        assert outcome.actions == ["create_directory", "create_key", "write_jwks"]
        assert outcome.after["jwks"] == {
            "keys": ["(new) EdDSA"],
            "owner": "nobody-yet",
            "group": "nobody-yet",
            "mode": "0640",
        }
        assert outcome.facts()["published"] == [{"kid": "(new)", "alg": "EdDSA", "until": None}]
        assert outcome.restart_needed is False
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("rotation", ["keep", "begin", "finish"])
    def test_check_mode_without_the_library(self, old: Set, monkeypatch: pytest.MonkeyPatch, rotation: str) -> None:
        monkeypatch.setattr(jwk, "CRYPTOGRAPHY_ERROR", "ImportError")
        old.next.write_bytes(old.path.read_bytes())
        old.next.chmod(0o600)
        outcome = old.run(check=True, rotation=rotation)
        assert (outcome.actions, outcome.restart_needed, len(outcome.published)) == ([], False, 1)
        assert len(outcome.warnings) == 1

    @pytest.mark.parametrize("option", ["jwks_owner", "jwks_group"])
    def test_nobody_has_that_name(self, spec: KeySpec, option: str, tmp_path: Path) -> None:
        changed: dict[str, Any] = {option: "nobody-yet"}
        with pytest.raises(KeyProblem, match=f"{option} is nobody-yet, which this host does not have"):
            ensure_key(dataclasses.replace(spec, **changed), False)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("behind", ["", ".next"])
    def test_not_where_a_private_key_lies(self, spec: KeySpec, behind: str, tmp_path: Path) -> None:
        with pytest.raises(KeyProblem, match="where a private key lies"):
            ensure_key(dataclasses.replace(spec, jwks_path=spec.path + behind), False)
        assert list(tmp_path.iterdir()) == []

    def test_a_detour(self, spec: KeySpec) -> None:
        with pytest.raises(KeyProblem, match=r"jwks_path is jwks\.json; .* for example /etc/nous/jwks\.json"):
            ensure_key(dataclasses.replace(spec, jwks_path="jwks.json"), False)

    def test_nothing_is_made_before_all_is_judged(self, made: Set, tmp_path: Path) -> None:
        made.path.write_bytes(b"")
        with pytest.raises(KeyProblem, match="holds no key in PEM"):
            made.run(jwks_path=str(tmp_path / "www/jwks.json"))
        assert not (tmp_path / "www").exists()

    def test_in_a_directory_where_others_could_swap_it(self, made: Set, tmp_path: Path) -> None:
        (tmp_path / "open").mkdir()
        (tmp_path / "open").chmod(0o777)
        with pytest.raises(KeyProblem, match="has mode 0777, so that others could swap the key"):
            made.run(jwks_path=str(tmp_path / "open/jwks.json"))
        assert list((tmp_path / "open").iterdir()) == []

    @as_root
    def test_one_that_somebody_else_put_there(self, made: Set, tmp_path: Path) -> None:
        (tmp_path / "sticky").mkdir()
        (tmp_path / "sticky").chmod(0o1777)
        theirs = tmp_path / "sticky/jwks.json"
        theirs.write_bytes(made.jwks.read_bytes())
        os.chown(theirs, 4242, 4242)
        with pytest.raises(KeyProblem, match="belongs to 4242 in a directory open to others"):
            made.run(jwks_path=str(theirs))

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            ("", "holds no JSON; restore it"),
            ("\xff", "holds no JSON; restore it"),
            ("[]", "holds no JWK set"),
            ('{"keys": {}}', "holds no JWK set"),
            ('{"keys": ["kid"]}', "holds no JWK set"),
            ('{"keys": [{"kty": "OKP"}]}', "holds keys that no kid of their own tells apart"),
            ('{"keys": [{"kid": "a"}, {"kid": "a"}]}', "holds keys that no kid of their own tells apart"),
            ('{"keys": [{"kid": "a", "exp": "soon"}]}', "holds a key with an exp that is no time in seconds"),
            ('{"keys": [{"kid": "a", "exp": true}]}', "holds a key with an exp that is no time in seconds"),
            ('{"keys": [{"kid": "a", "exp": -1}]}', "holds a key with an exp that is no time in seconds"),
            ('{"keys": [{"kid": "a", "exp": 1e999}]}', "holds a key with an exp that is no time in seconds"),
            ('{"keys": [{"kid": "a", "exp": 99999999999999}]}', "holds a key with an exp that is no time in seconds"),
            ('{"keys": [{"kid": "a", "d": "x"}]}', "publishes the private half of a key"),
            ('{"keys": [{"kid": "a", "k": "x"}]}', "publishes the private half of a key"),
        ],
    )
    def test_what_is_no_set_is_rejected_and_stays(self, made: Set, content: str, sentence: str) -> None:
        made.jwks.write_bytes(content.encode("latin-1"))
        before = made.tree()
        for check in (True, False):
            for rotation in ("keep", "begin", "finish"):
                with pytest.raises(KeyProblem) as problem:
                    made.run(check=check, rotation=rotation)
                assert str(problem.value).startswith(f"{made.jwks} {sentence}")
                assert str(problem.value).endswith(".")
        assert made.tree() == before

    def test_a_link_is_rejected_and_stays(self, made: Set, tmp_path: Path) -> None:
        made.jwks.rename(tmp_path / "elsewhere.json")
        made.jwks.symlink_to(tmp_path / "elsewhere.json")
        with pytest.raises(KeyProblem, match=r"jwks\.json is a symbolic link, not a plain file"):
            made.run()
        made.jwks.unlink()
        made.jwks.hardlink_to(tmp_path / "elsewhere.json")
        with pytest.raises(KeyProblem, match=r"jwks\.json has 2 hard links"):
            made.run()

    def test_what_a_killed_run_left_is_cleared(self, made: Set) -> None:
        half = made.jwks.with_name(".jwks.json.0123456789abcdef.tmp")
        half.touch()
        assert made.run(check=True).actions == ["remove_leftovers"]
        assert half.exists()
        assert made.run().actions == ["remove_leftovers"]
        assert not half.exists()


class TestKeep:
    """A run of the site never publishes, activates or retires."""

    def test_however_old(self, made: Set) -> None:
        made.age(10000)
        before = made.tree()
        outcome = made.run()
        assert outcome.actions == []
        assert outcome.facts()["rotation_due"] is True
        assert made.tree() == before

    def test_before_the_next_is_published(self, old: Set) -> None:
        old.next.write_bytes(jwk.generate_pem("EdDSA", 0))
        old.next.chmod(0o600)
        before = old.tree()
        outcome = old.run()
        assert outcome.actions == []
        assert outcome.facts()["next_kid"] == read_pem(old.next.read_bytes(), None).kid
        assert old.tree() == before

    def test_before_the_next_is_activated(self, interrupted: Set) -> None:
        before = interrupted.tree()
        outcome = interrupted.run()
        assert (outcome.actions, outcome.restart_needed) == ([], False)
        assert interrupted.tree() == before

    def test_before_the_restart(self, old: Set) -> None:
        old.begin()
        before = old.tree()
        outcome = old.run()
        assert (outcome.actions, outcome.restart_needed) == ([], True)
        assert old.tree() == before

    def test_after_the_overlap(self, old: Set) -> None:
        old.begin()
        old.finish()
        old.age(100)
        before = old.tree()
        assert old.run().actions == []
        assert old.tree() == before


class TestRotation:
    def test_from_one_key_to_the_next(self, old: Set) -> None:
        first = old.signs()
        outcome = old.begin()
        second = old.signs()
        assert outcome.actions == ALL_ACTIONS
        assert second != first
        assert old.kids() == [second, first]
        assert not old.next.exists()
        assert (outcome.restart_needed, outcome.facts()["kid"], outcome.facts()["age_days"]) == (True, second, 0)
        assert outcome.before["key"]["kid"] == first
        assert outcome.after["key"]["kid"] == second
        assert outcome.after["jwks"]["keys"] == [f"{second} EdDSA", f"{first} EdDSA"]
        assert stat.S_IMODE(old.path.stat().st_mode) == 0o600

        again = old.begin()
        assert (again.actions, again.restart_needed) == ([], True)

        now = int(time.time())
        outcome = old.finish()
        assert (outcome.actions, outcome.restart_needed) == (["date_keys"], False)
        assert 0 <= old.entries()[1]["exp"] - now - 31 * DAY < 60
        assert "exp" not in old.entries()[0]
        assert old.finish().actions == []
        assert outcome.facts()["published"][1]["until"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(old.entries()[1]["exp"]))

    def test_the_old_key_is_retired_by_a_later_one(self, old: Set) -> None:
        first = old.signs()
        old.begin()
        old.finish()
        second = old.signs()
        old.age(30)
        old.begin()
        third = old.signs()
        old.finish()
        assert old.kids() == [third, second, first]
        old.age(2)
        outcome = old.begin()
        assert outcome.actions == ["retire_keys"]
        assert old.kids() == [third, second]
        assert old.signs() == third

    def test_retired_by_finish_as_well(self, old: Set) -> None:
        old.begin()
        old.finish()
        old.age(32)
        assert old.finish().actions == ["retire_keys"]
        assert old.kids() == [old.signs()]

    def test_not_before_its_time_is_over(self, old: Set) -> None:
        old.begin(minimum_interval_days=7)
        old.finish()
        old.age(30.9)
        assert old.begin(minimum_interval_days=365).actions == []
        assert len(old.kids()) == 2

    def test_at_most_one_in_the_interval(self, made: Set) -> None:
        first = made.signs()
        made.age(6.9)
        assert made.begin().actions == []
        assert made.signs() == first
        made.age(0.2)
        assert made.begin().actions == ALL_ACTIONS
        assert made.begin().actions == []

    def test_the_interval_counts_from_when_the_key_is_put_to_use(self, interrupted: Set) -> None:
        """The next key was made long before a second run activated it."""
        interrupted.age(100)
        assert interrupted.begin().actions == ["activate_key"]
        assert interrupted.begin().actions == []

    def test_a_key_that_was_just_made_is_not_rotated(self, spec: KeySpec) -> None:
        outcome = Set(spec).begin(minimum_interval_days=0)
        assert outcome.actions == ["create_directory", "create_key", "write_jwks"]

    def test_an_interrupted_one_goes_on_where_it_was(self, interrupted: Set) -> None:
        first, upcoming = interrupted.signs(), read_pem(interrupted.next.read_bytes(), None).kid
        assert interrupted.kids() == [upcoming, first]
        foretold = interrupted.run(check=True, rotation="begin")
        outcome = interrupted.begin(minimum_interval_days=1000)
        assert outcome.actions == foretold.actions == ["activate_key"]
        assert foretold.after == outcome.after
        assert foretold.facts()["kid"] == upcoming
        assert interrupted.signs() == upcoming
        assert interrupted.kids() == [upcoming, first]

    def test_finish_does_not_take_the_next_key_for_an_old_one(self, interrupted: Set) -> None:
        assert interrupted.finish().actions == []

    def test_one_that_was_not_published_yet_is_before_it_signs(self, old: Set, monkeypatch: pytest.MonkeyPatch) -> None:
        old.next.write_bytes(jwk.generate_pem("EdDSA", 0))
        old.next.chmod(0o600)
        seen = []
        move = _oauth_key_files.Name.move_onto

        def watched(self: _oauth_key_files.Name, other: _oauth_key_files.Name) -> None:
            seen.append(old.kids())
            move(self, other)

        monkeypatch.setattr(_oauth_key_files.Name, "move_onto", watched)
        first, upcoming = old.signs(), read_pem(old.next.read_bytes(), None).kid
        assert old.begin().actions == ["publish_key", "activate_key"]
        assert seen == [[upcoming, first]]
        assert old.signs() == upcoming

    def test_check_mode_changes_nothing(self, old: Set) -> None:
        before = old.tree()
        outcome = old.run(check=True, rotation="begin")
        assert outcome.actions == ALL_ACTIONS
        assert outcome.restart_needed is True
        assert outcome.after["key"]["kid"] == "(new)"
        facts = outcome.facts()
        assert [facts[name] for name in ("kid", "fingerprint", "created", "age_days")] == [None] * 4
        assert facts["alg"] == "EdDSA"
        assert old.tree() == before
        old.begin()
        before = old.tree()
        assert old.run(check=True, rotation="finish").actions == ["date_keys"]
        assert old.tree() == before

    def test_to_another_algorithm(self, old: Set) -> None:
        first = old.signs()
        with pytest.raises(KeyProblem, match="request what is there, rotate to what is requested"):
            old.run(algorithm="ES256")
        outcome = old.begin(algorithm="ES256")
        assert outcome.key is not None
        assert outcome.key.alg == "ES256"
        assert [(key["kid"], key["alg"]) for key in old.entries()] == [(outcome.key.kid, "ES256"), (first, "EdDSA")]
        old.finish(algorithm="ES256")
        assert old.run(algorithm="ES256").actions == []

    def test_a_next_key_for_another_algorithm_is_rejected(self, interrupted: Set) -> None:
        before = interrupted.tree()
        with pytest.raises(KeyProblem, match=r"signing.pem.next holds a key for EdDSA, but RS256 was requested"):
            interrupted.begin(algorithm="RS256")
        assert interrupted.tree() == before

    def test_a_next_key_that_is_corrupt_is_rejected(self, interrupted: Set) -> None:
        interrupted.next.write_bytes(b"")
        before = interrupted.tree()
        for rotation in ("keep", "begin", "finish"):
            with pytest.raises(KeyProblem, match=r"signing.pem.next holds no key in PEM"):
                interrupted.run(rotation=rotation)
        assert interrupted.tree() == before

    def test_a_key_that_is_corrupt_is_rejected_here_too(self, old: Set) -> None:
        old.path.write_bytes(b"")
        before = old.tree()
        with pytest.raises(KeyProblem, match=r"signing.pem holds no key in PEM"):
            old.begin()
        assert old.tree() == before

    def test_the_mode_of_the_next_key_is_mended(self, interrupted: Set) -> None:
        interrupted.next.chmod(0o644)
        outcome = interrupted.begin()
        assert outcome.actions == ["set_permissions", "activate_key"]
        assert "signing.pem.next" in outcome.warnings[0]
        assert stat.S_IMODE(interrupted.path.stat().st_mode) == 0o600

    def test_a_key_that_was_stolen(self, old: Set) -> None:
        """Neither interval nor overlap."""
        old.begin()
        old.finish()
        old.begin(minimum_interval_days=0, overlap_days=0)
        outcome = old.finish(overlap_days=0)
        assert outcome.actions == ["date_keys", "retire_keys"]
        assert old.kids() == [old.signs()]

    def test_a_shorter_overlap_counts_and_a_longer_one_does_not(self, old: Set) -> None:
        old.begin()
        old.finish()
        end = old.entries()[1]["exp"]
        assert old.finish(overlap_days=100).actions == []
        assert old.finish(overlap_days=1).actions == ["date_keys"]
        assert 29 * DAY < end - old.entries()[1]["exp"] <= 30 * DAY

    def test_a_key_that_was_moved_away_counts_as_old(self, made: Set) -> None:
        """As the module itself advises to do with a corrupt one."""
        first = made.signs()
        made.path.unlink()
        outcome = made.run()
        assert outcome.actions == ["create_key", "write_jwks"]
        assert made.kids() == [made.signs(), first]
        assert outcome.restart_needed is True
        assert made.finish().actions == ["date_keys"]
        assert made.run().restart_needed is False

    def test_a_key_that_comes_back_is_no_old_one(self, old: Set) -> None:
        pem = old.path.read_bytes()
        first = old.signs()
        old.begin()
        old.finish()
        old.path.write_bytes(pem)
        assert old.run().actions == ["write_jwks"]
        assert next(key["kid"] for key in old.entries() if "exp" not in key) == first

    @pytest.mark.parametrize(
        ("option", "value", "least"),
        [("overlap_days", -1, 0), ("minimum_interval_days", -1, 0), ("rotate_after_days", 0, 1)],
    )
    def test_days_that_are_none(self, made: Set, option: str, value: int, least: int) -> None:
        with pytest.raises(KeyProblem, match=f"{option} is {value}; allowed is a number of days from {least}, for"):
            made.run(False, **{option: value})

    @pytest.mark.parametrize(("days", "due"), [(364, False), (365, True)])
    def test_due(self, made: Set, days: int, due: bool) -> None:
        made.age(days + 0.1)
        assert made.run().facts()["rotation_due"] is due


class TestExamine:
    def test_as_it_is(self, interrupted: Set) -> None:
        interrupted.path.chmod(0o604)
        interrupted.jwks.chmod(0o666)
        before = interrupted.tree()
        outcome = examine_key(interrupted.spec.path, interrupted.spec.jwks_path, 1)
        assert outcome.warnings == []
        facts = outcome.facts()
        assert facts["kid"] == interrupted.signs()
        assert facts["next_kid"] == interrupted.kids()[0]
        assert [key["kid"] for key in facts["published"]] == interrupted.kids()
        assert (facts["rotation_due"], facts["restart_needed"]) == (True, False)
        assert interrupted.tree() == before

    def test_what_is_not_published_is_not_said_to_be(self, made: Set) -> None:
        made.write([])
        facts = examine_key(made.spec.path, made.spec.jwks_path, 365).facts()
        assert facts["published"] == []

    def test_an_unfinished_rotation(self, old: Set) -> None:
        old.begin()
        assert examine_key(old.spec.path, old.spec.jwks_path, 365).restart_needed is True

    def test_a_kind_that_is_none(self, made: Set) -> None:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed448

        made.path.write_bytes(
            ed448.Ed448PrivateKey.generate().private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        with pytest.raises(KeyProblem, match="holds a key for Ed448, but one of EdDSA, ES256, RS256 was requested"):
            examine_key(made.spec.path, None, 365)


def test_a_set_reads_back() -> None:
    keys = [read_pem(jwk.generate_pem(name, 2048), name).jwk for name in ("EdDSA", "ES256", "RS256")]
    assert parse_jwks(jwk.render_jwks(keys)) == keys


def test_a_finish_that_waited_dates_nothing_again(old: Set, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads the clock when its turn comes, not when it was started."""
    old.begin()
    enter, clock = _oauth_key_files.Directories.enter, [time.time()]

    def waited(self: _oauth_key_files.Directories, *arguments: Any) -> int | None:
        if not self.look_only:
            clock[0] = clock[1]
        return enter(self, *arguments)

    started = clock[0]
    monkeypatch.setattr(_oauth_key_files.Directories, "enter", waited)
    monkeypatch.setattr(time, "time", lambda: clock[0])
    clock[:] = [started + 100, started + 100]
    assert old.finish().actions == ["date_keys"]
    clock[:] = [started, started + 200]
    assert old.finish().actions == []
