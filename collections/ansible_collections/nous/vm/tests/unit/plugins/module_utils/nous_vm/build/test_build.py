# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The build as root sees it: what it asks its units for, what it takes from them, what it writes down, and that nothing is left of a release that failed.

The units are fakes here; tests/service/test_build.py has the real ones.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import cli, locks
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build import builder, release, unit
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.commands import build as command
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.configuration import load
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.pylock import Package, told
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.unit import StepError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.build.places import (
    BACKEND,
    COMMIT,
    DEP,
    EXTRA,
    MORE,
    NAME,
    Place,
    about,
    configured,
    package,
    raising,
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(builder, "run", lambda *_arguments, **_options: Completed(0, b"3.13.5\n", b""))
    monkeypatch.setattr(release, "run", lambda *_arguments, **_options: Completed(0, b"", b""))
    monkeypatch.setattr(locks, "FOLDER", tmp_path / "locks")
    monkeypatch.setattr(unit, "FOLDER", tmp_path / "locks")
    monkeypatch.setattr(os, "nice", lambda _by: 0)
    return Place(tmp_path)


def test_a_release(place: Place) -> None:
    done = place.run()
    assert done == {"changed": True, "release": NAME, "reason": None, "step": None}
    assert place.units.words() == ["source", "files", "build"]
    assert place.units.asked[-1][1]["files"] == {DEP.file: b"dep"}
    found = place.record()
    assert (found["release"], found["commit"], found["locked"], found["lock"], found["python"]) == (NAME, COMMIT, True, "fits", "3.13.5")
    assert found["packages"] == told([DEP]) and found["made_of"]["ref"] == "main" and len(found["made_of"]["source_tree"]) == 64
    bill = json.loads((place.folder / "sbom.json").read_bytes())
    assert [(each["purl"], each["scope"], each["hashes"][0]["content"]) for each in bill["components"]] == [("pkg:pypi/dep@1.0", "required", DEP.sha256)]
    assert release.damage(place.folder) is None and release.seems_whole(place.folder)
    assert not place.run()["changed"]
    assert place.run(name="other-py3.13")["changed"] and place.units.words()[3:] == ["source", "build"], "what is in the store is not fetched again"
    assert sorted(path.name for path in place.root.iterdir()) == ["build.json", "building", "releases", "store"]
    assert list((place.root / "building").iterdir()) == []


@pytest.mark.parametrize("what", ["content", "empty", "more", "record of another", "no record", "half a record", "FIFO", "interpreter"])
def test_a_name_is_never_taken_for_content(place: Place, what: str) -> None:
    """What a failed build planted, what a power cut left: it is found, and built anew."""
    place.run()
    file, record = place.folder / "venv/bin/run", place.folder / "release.json"
    acts: dict[str, Callable[[], object]] = {
        "content": lambda: file.write_bytes(b"y"),
        "empty": file.with_name("run2").touch,
        "more": (place.folder / "source").mkdir,
        "record of another": lambda: record.write_text(json.dumps(place.record() | {"release": "git-abc-py3.13"})),
        "no record": record.unlink,
        "half a record": lambda: record.write_text("{}"),
        "FIFO": lambda: os.mkfifo(record),
        "interpreter": lambda: record.write_text(json.dumps(place.record() | {"python": "3.12.1"})),
    }
    if what == "FIFO":
        record.unlink()
    acts[what]()
    assert (release.damage(place.folder) is None) == (what == "interpreter")
    assert place.run()["changed"]
    assert release.damage(place.folder) is None


def test_extra_requirements(place: Place) -> None:
    """They come by the operator's hashes, and the release is made of them too; of what the release has already, its own file stays."""
    assert place.run(extra=EXTRA)["changed"]
    assert place.units.words() == ["source", "extra", "files", "build"]
    assert place.units.asked[1][1]["requirements"] == EXTRA
    built = place.units.asked[-1][1]
    assert (built["packages"], built["extra"], built["files"]) == (told([DEP]), EXTRA, {DEP.file: b"dep", MORE.file: b"more"})
    found = place.record()
    assert (found["extra_packages"], found["made_of"]["extra_requirements"]) == (told([MORE]), EXTRA)
    bill = json.loads((place.folder / "sbom.json").read_bytes())
    assert [(each["name"], each["scope"]) for each in bill["components"]] == [("dep", "required"), ("more", "required")]
    assert sorted(path.name for path in (place.root / "store").iterdir()) == sorted([DEP.sha256, MORE.sha256])


def test_extra_requirements_are_there_in_every_round(place: Place) -> None:
    """What the build itself turns out to need takes no place of theirs."""
    place.units.needs = [[["backend>=1"]]]
    assert place.run(extra=EXTRA)["changed"]
    assert place.units.words() == ["source", "extra", "files", "build", "resolve", "files", "build"]
    assert place.units.asked[-1][1]["files"] == {DEP.file: b"dep", MORE.file: b"more", BACKEND.file: b"backend"}
    assert (place.record()["extra_packages"], place.record()["build_packages"]) == (told([MORE]), told([BACKEND]))


@pytest.mark.parametrize("wrong", [package("more", b"another"), package("dep2", b"more"), package("more", b"more", "more-1.0.tar.gz")])
def test_extra_packages_that_the_operator_has_no_hash_of(place: Place, wrong: Package) -> None:
    place.units.extra = [wrong]
    assert f"nous_service_extra_requirements has no hash of {wrong.file}" in place.run(extra=EXTRA)["reason"]
    assert place.units.words() == ["source", "extra"] and not place.folder.exists()


def test_again_builds_again_and_leaves_what_runs_if_it_fails(place: Place) -> None:
    place.run()
    before = place.folder.stat().st_ino
    place.units.act = raising(StepError("error: no\x1b", "Install the server"))
    done = place.run(again=True)
    assert done["reason"] == 'the source gave no release: "Install the server" failed with error: no\\x1b'
    assert release.damage(place.folder) is None and place.folder.stat().st_ino == before
    place.units.act = lambda _folder: None
    assert place.run(again=True)["changed"] and place.folder.stat().st_ino != before
    assert list((place.root / "building").iterdir()) == []


def test_a_release_that_is_known_to_fail_is_not_built(place: Place) -> None:
    place.folder.mkdir(parents=True)
    (place.folder / "failed.json").write_text(json.dumps({"reason": "it crashes", "settings": None, "at": 0}))
    done = place.run()
    assert "is not built: on 1970-01-01 00:00:00 UTC it failed: it crashes; it is not built again until" in done["reason"]
    assert place.units.asked == []
    assert place.run(again=True)["changed"]
    assert (place.folder / "failed.json").exists(), "who deploys it forgets that"
    (place.folder / "failed.json").write_text(json.dumps({"reason": "it crashes", "settings": "x", "at": 0}))
    assert place.run(again=True)["changed"], "with other settings it may not"


def test_the_store_is_mended(place: Place) -> None:
    place.run()
    (place.root / "store" / DEP.sha256).write_bytes(b"")
    assert place.run(again=True)["changed"]
    assert place.units.words()[3:] == ["source", "files", "build"]
    place.units.contents[DEP.sha256] = b"poison"
    (place.root / "store" / DEP.sha256).write_bytes(b"poison")
    assert '"Download what it needs" failed with error: Hash mismatch' in place.run(again=True)["reason"]
    place.units.contents = dict.fromkeys(place.units.contents, b"dep")
    assert place.run(again=True)["changed"]
    place.units.source["packages"] = told([package("later", b"later")])
    place.units.contents[package("later", b"later").sha256] = b"later"
    assert place.run(again=True)["changed"]
    assert sorted(path.name for path in (place.root / "store").iterdir()) == [package("later", b"later").sha256], "what nothing is made of goes"


def test_what_the_build_itself_needs_is_resolved_once(place: Place) -> None:
    place.units.needs = [[["backend>=1"]]]
    assert place.run()["changed"]
    assert place.units.words() == ["source", "files", "build", "resolve", "files", "build"]
    assert place.units.asked[3][1]["requirements"] == [["backend>=1"]]
    assert place.record()["build_packages"] == told([BACKEND])
    assert [each["scope"] for each in json.loads((place.folder / "sbom.json").read_bytes())["components"]] == ["required", "excluded"]
    assert place.run(again=True)["changed"] and place.units.words()[6:] == ["source", "build"]
    place.units.needs = [[["x"]]] * 9
    assert "the build needs something else in each of 4 rounds" in place.run(again=True)["reason"]


def test_what_the_source_says_that_its_build_needs_comes_with_it(place: Place) -> None:
    place.units.source["needed"] = told([BACKEND])
    assert place.run()["changed"]
    assert place.units.words() == ["source", "files", "build"]
    assert place.record()["build_packages"] == told([BACKEND])
    place.units.source["needed"] = []
    assert place.run(again=True)["changed"]
    assert [request["resolved"] for word, request in place.units.asked if word == "source"] == [[], ["key"]]
    assert place.record()["build_packages"] == told([BACKEND]), "the same as the last time"


@pytest.mark.parametrize(
    ("lock", "words"), [("stale", "uv.lock does not fit pyproject.toml"), ("unknown: away\x1b", "nobody can tell whether .* unknown: away")]
)
def test_a_lock_that_does_not_fit(place: Place, lock: str, words: str) -> None:
    place.units.lock = lock
    done = place.run()
    assert done["changed"] and words.split(" .*")[0] in done["warning"] and "\x1b" not in done["warning"] + place.record()["lock"]
    done = place.run(again=True, lock="fail")
    assert words.split(" .*")[0] in done["reason"] and done["reason"].endswith("nous_service_lock is fail")
    place.units.source["locked"] = False
    assert "warning" not in place.run(again=True)


@pytest.mark.parametrize("suffix", ["tar.gz", "whl"])
def test_an_archive(place: Place, suffix: str) -> None:
    source: dict[str, Any]
    sent = place.root / f"nous-1.0-py3-none-any.{suffix}"
    sent.write_bytes(b"archive")
    source = {"kind": "archive", "archive": str(sent), "sha256": hashlib.sha256(b"archive").hexdigest()}
    seen = list[bytes]()
    place.units.act = lambda _folder: seen.append((place.units.work / "archive" / sent.name).read_bytes())
    assert place.run(**source)["changed"]
    assert seen == [b"archive"] and not sent.exists()
    assert place.units.asked[0][1]["source"]["name"] == sent.name
    assert (sent.name in place.units.asked[-1][1]["files"]) == (suffix == "whl")
    sent.write_bytes(b"another")
    assert '"Read the archive" failed with error' in place.run(again=True, **source)["reason"]


@pytest.mark.parametrize(("key", "value"), [("commit", "../x"), ("packages", [{"name": "x"}]), ("packages", 3)])
def test_what_a_fetch_unit_tells_is_looked_at(place: Place, key: str, value: object) -> None:
    place.units.source[key] = value
    assert place.run()["reason"]
    assert list((place.root / "releases").iterdir()) == []


def test_a_host_that_is_full_or_has_no_interpreter(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "run", lambda *_arguments, **_options: Completed(1, b"", b"error: no space\n"))
    assert '"Write down that the release is complete" failed with error: error: no space' in place.run()["reason"]
    monkeypatch.setattr(builder, "run", lambda *_arguments, **_options: Completed(1, b"", b"chatter\nerror: no\nmore\n"))
    assert place.run()["reason"] == 'the source gave no release: "Query the interpreter for its version" failed with error: no'


def test_halves_are_removed_and_complete_releases_left_alone(place: Place) -> None:
    releases, building = place.root / "releases", place.root / "building"
    for name in ("whole", "half", "failed"):
        (releases / name / "source").mkdir(parents=True)
        (releases / name / "file").touch()
    (releases / "whole/release.json").touch()
    (releases / "failed/failed.json").touch()
    (releases / "stray").touch()
    (building / "other").mkdir(parents=True)
    (place.root / "elsewhere").mkdir()
    (place.root / "elsewhere/file").touch()
    (releases / "link").symlink_to(place.root / "elsewhere")
    release.clear(releases, building)
    assert sorted(path.name for path in releases.iterdir()) == ["failed", "stray", "whole"]
    assert [path.name for path in (releases / "failed").iterdir()] == ["failed.json"]
    assert (place.root / "elsewhere/file").exists() and list(building.iterdir()) == []
    release.remove(releases / "absent")


@pytest.mark.parametrize("change", [{"root": None}, {"source": {"kind": "other"}}, {"source": {"kind": "git"}}, {"environment": 3}, {"space": "x"}])
def test_a_configuration_that_is_wrong(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "build.json"
    path.write_text(json.dumps({key: value for key, value in (about(tmp_path) | change).items() if value is not None}))
    with pytest.raises(UsageError, match=r"build\.json cannot be used: "):
        load(str(path))


def test_a_configuration_from_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(about(tmp_path))))
    made = load("-")
    assert made.at("other", "abc").source["ref"] == "abc"
    monkeypatch.setattr("sys.stdin", io.StringIO(made.text()))
    assert load("-") == made


def test_the_command(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    configured(place.root)
    config = f"--config={place.root}/build.json"
    place.units.lock = "stale"
    monkeypatch.setattr(builder, "Units", lambda _configuration, _work: place.units)
    monkeypatch.setattr(builder, "Store", lambda: place.store)
    umask = os.umask(0o022)
    os.umask(umask)
    assert cli.main(["build", NAME, config, "--here"]) == 0
    assert cli.main(["build", NAME, config, "--here"]) == 0
    os.umask(umask)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{NAME} is built; warning: uv.lock does not fit") and second == f"{NAME} was built already"
    monkeypatch.setattr(command, "build", lambda _made, _name, _again: {"changed": False, "reason": "the source gave no release"})
    assert cli.main(["build", NAME, config, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["message"] == "the source gave no release."
    assert cli.main(["build", "other", config]) == 2
    assert "build.json is for git-0123456789ab-py3.13, not for other" in capsys.readouterr().err
