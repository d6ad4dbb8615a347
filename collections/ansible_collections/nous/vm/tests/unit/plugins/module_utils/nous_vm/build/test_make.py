# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The build unit: what it builds of what was fetched, with programs that only write down what they are asked."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build import make, tools
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.pylock import Package, told
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.stream import Receiver
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.build.fetching import HASH, PROJECT, Programs, pack
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.build.test_download import wanted


class Made:
    """The build unit from inside."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.monkeypatch = root, monkeypatch
        for name in ("source", "files"):
            (root / name).mkdir()
        monkeypatch.setattr(make, "SOURCE", root / "source")
        monkeypatch.setattr(make, "FILES", root / "files")
        self.count = 0

    def run(self, packages: Sequence[Package] = (), wheel: str = "", source: bool = True, extra: str = "") -> dict[str, Any]:
        self.count += 1
        folder, got = self.root / f"release-{self.count}", self.root / f"got-{self.count}"
        folder.mkdir()
        got.mkdir()
        request = {"folder": str(folder), "uv": "/uv", "python": "/python", "packages": told(packages), "wheel": wheel, "source": source, "extra": extra}
        out = io.BytesIO()
        self.monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(json.dumps(request).encode())))
        self.monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=out))
        make.main()
        return Receiver(got, 1 << 20).receive(io.BytesIO(out.getvalue()))


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    return Made(tmp_path, monkeypatch)


def hook(more: list[str]) -> Callable[[list[str]], None]:
    def act(words: list[str]) -> None:
        Path(json.loads(words[-1])["answer"]).write_text(json.dumps(more))

    return act


def test_a_build(unit: Made, programs: Programs) -> None:
    (unit.root / "source/pyproject.toml").write_text(PROJECT)
    (unit.root / "source/uv.lock").write_text(
        '[[package]]\nname = "d"\nsource = {registry = "http://one"}\n[[package]]\nname = "n"\nsource = {editable = "."}\n'
    )
    (unit.root / "source/src").mkdir()
    programs.acts["importlib"] = hook([])
    done = unit.run([wanted("https://x")])
    assert done["lock"] == "fits"
    lines = [" ".join(call) for call in programs.calls]
    assert any("--require-hashes" in line and "--no-index" in line for line in lines)
    assert any(line.endswith("--no-deps --editable " + str(unit.root / "release-1/source")) for line in lines)
    assert any("lock --check" in line and "--default-index http://one" in line for line in lines)
    assert lines[-1].endswith("compileall -q --invalidation-mode checked-hash " + str(unit.root / "release-1/source/src"))
    assert [path.name for path in (unit.root / "got-1").iterdir()] == ["source"]


def test_what_a_build_needs_is_told(unit: Made, programs: Programs) -> None:
    (unit.root / "source/pyproject.toml").write_text(PROJECT)
    programs.answers["-- back"] = Completed(1, b"", b"error: not found")
    assert unit.run()["needs"] == [["back"]]
    del programs.answers["-- back"]
    programs.acts["importlib"] = hook(["editables"])
    programs.answers["-- editables"] = Completed(1, b"", b"error: not found")
    assert unit.run()["needs"] == [["back", "editables"]]
    assert not (unit.root / "got-2/source").exists()


@pytest.mark.parametrize("suffix", ["tar.gz", "zip"])
def test_source_archives_are_built_too(unit: Made, programs: Programs, suffix: str) -> None:
    file = unit.root / f"files/d-1.{suffix}"
    if suffix == "zip":
        with zipfile.ZipFile(file, "w") as packed:
            packed.writestr("d-1/setup.py", "")
    else:
        pack(file, {"setup.py": ""}, "d-1/")
    package = Package("d", "1", "", file.name, "https://x", HASH)
    programs.answers["-- setuptools"] = Completed(1, b"", b"error: not found")
    assert unit.run([package], source=False)["needs"] == [["setuptools>=40.8.0"]]
    file.write_bytes(b"x")
    assert unit.run([package], source=False)["step"] == "Find out what the build itself needs"


def test_a_source_archive_is_the_one_folder_at_its_top(unit: Made, programs: Programs) -> None:
    """What lies beside it is not built; one without a folder is rejected by a sentence."""
    file = unit.root / "files/d-1.zip"
    package = Package("d", "1", "", file.name, "https://x", HASH)
    programs.answers["-- setuptools"] = Completed(1, b"", b"error: not found")
    for names, found in ((["d-1/setup.py", "README"], ("needs", [["setuptools>=40.8.0"]])), (["README"], ("error", "error: d-1.zip has no folder at its top"))):
        with zipfile.ZipFile(file, "w") as packed:
            for name in names:
                packed.writestr(name, "")
        assert found in unit.run([package], source=False).items()


def test_a_wheel_and_uvs_own_backend(unit: Made, programs: Programs) -> None:
    assert unit.run(wheel="nous-1-py3-none-any.whl", source=False) == {"kind": "result", "lock": "none"}
    assert programs.calls[-1][-1].endswith("/files/nous-1-py3-none-any.whl")
    (unit.root / "source/pyproject.toml").write_text('[build-system]\nrequires = ["uv_build>=1"]\nbuild-backend = "uv_build"\n')
    assert unit.run()["lock"] == "none"
    (unit.root / "source/pyproject.toml").write_text("garbage")
    assert "pyproject.toml cannot be read" in unit.run()["error"]


def test_a_build_with_extra_requirements(unit: Made, programs: Programs) -> None:
    """They come on top of what the release needs, which they leave as it is."""
    given = f"a==1 --hash=sha256:{HASH}\n"
    texts: list[str] = []
    programs.acts["--only-binary"] = lambda words: texts.append(Path(words[-1]).read_text(encoding="utf-8"))
    assert unit.run(source=False, extra=given) == {"kind": "result", "lock": "none"}
    calls = [call for call in programs.calls if call[1] == "pip"][-4:]
    assert [call[2] for call in calls] == ["freeze", "install", "freeze", "check"]
    assert {"--no-deps", "--require-hashes", "--only-binary", "--no-index"} <= {*calls[1]} and texts == [given]
    programs.answers["pip freeze"] = Completed(0, b"dep==1\n", b"")
    programs.acts["--only-binary"] = lambda _words: programs.answers.update({"pip freeze": Completed(0, b"dep==2\n", b"")})
    done = unit.run(source=False, extra=given)
    assert "they replace dep==1, which the release needs as it is" in done["error"]
    assert done["step"] == "Install the extra requirements, hashes checked"
    programs.answers = {"pip check": Completed(1, b"", b"Found 1 incompatibility\nThe package `a` requires `b`, but it's not installed\n")}
    assert "requires `b`" in unit.run(source=False, extra=given)["error"]


@pytest.mark.parametrize(
    ("stderr", "found"),
    [
        (b"hint: Packages were unavailable because the network was disabled.", "stale"),
        (b"error: The lockfile at `uv.lock` needs to be updated", "stale"),
        (b"error: its build back end fails", "unknown: error: its build back end fails"),
    ],
)
def test_a_lock_that_does_not_fit(unit: Made, programs: Programs, stderr: bytes, found: str) -> None:
    (unit.root / "source/pyproject.toml").write_text('[build-system]\nrequires = []\nbuild-backend = "uv_build"\n')
    (unit.root / "source/uv.lock").write_text('[[package]]\nname = "d"\nsource = {registry = "http://one"}\n')
    programs.answers["lock --check"] = Completed(2, b"", stderr)
    assert unit.run()["lock"] == found


def test_what_a_program_printed_is_told() -> None:
    assert tools.causes(Completed(1, b"", b"")) == "no message"
    assert tools.causes(Completed(1, b"one\ntwo\n", b"")) == "two"
    assert tools.causes(Completed(1, b"", b"error: a\ncause: b\nx\n")) == "error: a; cause: b"
