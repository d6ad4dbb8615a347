# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The build: what it makes of each kind of source, what it rejects, and that nothing is left of a release that it could not make.

git, uv and Python are fakes here; tests/service/test_build.py has the real ones.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import cli, locks
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build import archive, configuration, git, lock, release, tools, unit
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.builder import Builder
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.commands import build as command
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.configuration import Configuration, load
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.tools import BuildError, Tools
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError, UsageError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed

NAME = "git-0123456789ab-py3.13"
LOCK = '[[package]]\nname = "dep"\nversion = "1.0"\nsource = {registry = "x"}\n'


class Programs:
    """git, uv and Python in the place of programs.run: answers by the words that a call has; uv makes an environment."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.answers: dict[str, Completed] = {}
        self.acts: dict[str, Callable[[list[str]], None]] = {}

    def run(self, argv: Sequence[str | Path], **_options: Any) -> Completed:
        words = [str(each) for each in argv]
        self.calls.append(words)
        line = " ".join(words)
        for part, act in self.acts.items():
            if part in line:
                act(words)
        return next((answer for part, answer in self.answers.items() if part in line), Completed(0, b"3.13.5\n", b""))


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Programs:
    made = Programs()
    monkeypatch.setattr(tools, "run", made.run)
    monkeypatch.setattr(locks, "FOLDER", tmp_path / "locks")
    monkeypatch.setattr(unit, "FOLDER", tmp_path / "locks")
    monkeypatch.setattr(os, "nice", lambda _by: 0)
    return made


def about(root: Path, **source: Any) -> dict[str, Any]:
    given = {"kind": "index", "requirement": "nous", "constraints": ["mcp<2"], "description": "the source"} | source
    tools = {"python": "/usr/bin/python3", "uv": "/uv", "environment": {}}
    return {"release": NAME, "root": str(root), "hidden": ["/etc/nous"], "extra_requirements": given.pop("extra", ""), "source": given, **tools}


def configured(root: Path, **source: Any) -> Configuration:
    path = root / "build.json"
    path.write_text(json.dumps(about(root, **source)), encoding="utf-8")
    return load(str(path))


def pack(path: Path, files: dict[str, str], top: str = "nous-1.0/") -> dict[str, Any]:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{top}{name}")
            entry.size, entry.mode = len(content), 0o600
            tar.addfile(entry, io.BytesIO(content.encode()))
    return {"kind": "archive", "archive": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def run(root: Path, programs: Programs, **source: Any) -> dict[str, Any]:
    made = configured(root, **source)
    made.releases.mkdir(exist_ok=True)
    return Builder(made, Tools(made, 3)).run()


def test_an_archive_with_a_lock(tmp_path: Path, programs: Programs) -> None:
    source = pack(tmp_path / "nous-1.0.tar.gz", {"uv.lock": "", "src/nous/__init__.py": "", ".git/config": "x"})
    done = run(tmp_path, programs, **source)
    assert done == {"changed": True, "release": NAME, "reason": None, "step": None}
    folder = tmp_path / "releases" / NAME
    written = json.loads((folder / "release.json").read_bytes())
    assert (written["locked"], written["commit"], written["python"], written["source"]) == (True, None, "3.13.5", "the source")
    assert [call[1] for call in programs.calls if call[0] == "/uv"] == ["sync"]
    assert not (folder / "source/.git").exists()
    assert (folder / "source/src/nous/__init__.py").stat().st_mode & 0o777 == 0o644
    assert not Path(source["archive"]).exists()
    assert [call[-1] for call in programs.calls if "compileall" in call] == [f"{folder}/source/src"]


def test_an_archive_without_a_lock_or_src(tmp_path: Path, programs: Programs) -> None:
    done = run(tmp_path, programs, **pack(tmp_path / "nous-1.0.tar.gz", {"setup.py": ""}))
    assert done["changed"]
    folder = tmp_path / "releases" / NAME
    assert (folder / "constraints.txt").read_text() == "mcp<2\n"
    assert [call[1:3] for call in programs.calls if call[0] == "/uv"] == [["venv", "--python"], ["pip", "install"]]
    assert programs.calls[-2][-2:] == ["-q", f"{folder}/source"]


def test_extra_requirements(tmp_path: Path, programs: Programs) -> None:
    """They come on top of what the release needs, which they leave as it is."""
    assert run(tmp_path, programs, extra="a==1 --hash=sha256:00\n")["changed"]
    folder = tmp_path / "releases" / NAME
    assert (folder / "extra-requirements.txt").read_text() == "a==1 --hash=sha256:00\n"
    calls = [call[1:] for call in programs.calls if call[0] == "/uv"][-4:]
    assert [call[1] for call in calls] == ["freeze", "install", "freeze", "check"]
    assert {"--no-deps", "--require-hashes", "--only-binary"} <= {*calls[1]}
    frozen = iter([b"mcp==1.28.1\n", b"mcp==2.0\n"])

    def replaced(argv: list[str], **options: Any) -> Completed:
        return Completed(0, next(frozen), b"") if "freeze" in argv else programs.run(argv, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tools, "run", replaced)
        release.remove(folder)
        done = run(tmp_path, programs, extra="mcp==2.0 --hash=sha256:00\n")
    assert done["step"] == "Install the extra requirements, hashes checked"
    assert "they replace mcp==1.28.1, which the release needs as it is" in done["reason"]


@pytest.mark.parametrize("kind", ["wheel", "index"])
def test_what_has_no_source(tmp_path: Path, programs: Programs, kind: str) -> None:
    wheel = tmp_path / "nous-1.0-py3-none-any.whl"
    wheel.write_bytes(b"x")
    source = {"kind": "archive", "archive": str(wheel), "sha256": hashlib.sha256(b"x").hexdigest()} if kind == "wheel" else {}
    assert run(tmp_path, programs, **source)["changed"]
    assert programs.calls[-2][-1] == (str(wheel) if kind == "wheel" else "nous")


def test_what_is_built_is_not_built_again(tmp_path: Path, programs: Programs) -> None:
    assert run(tmp_path, programs)["changed"]
    assert not run(tmp_path, programs)["changed"]
    programs.answers["/venv/bin/python -c"] = Completed(0, b"3.14.0\n", b"")
    assert run(tmp_path, programs)["changed"], "its interpreter is another by now"


@pytest.mark.parametrize(
    ("broken", "step", "words"),
    [
        ("/usr/bin/python3 -c", "Query the interpreter for its version", "error: no"),
        ("/uv venv", "Make a virtual environment", "error: no"),
        ("/uv pip", "Install the server", "error: no"),
        ("sync --file-system", "Write down that the release is complete", "error: no"),
    ],
)
def test_nothing_is_left_of_a_release_that_could_not_be_built(tmp_path: Path, programs: Programs, broken: str, step: str, words: str) -> None:
    programs.answers[broken] = Completed(1, b"", b"chatter\nerror: no\nmore chatter\n")
    done = run(tmp_path, programs)
    assert done["reason"] == f'the source gave no release: "{step}" failed with {words}'
    assert done["step"] == step
    assert list((tmp_path / "releases").iterdir()) == []


def test_a_host_that_is_full(tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.builder.make_readable", full)
    assert "failed with error: [Errno 28] No space left on device" in run(tmp_path, programs)["reason"]


def test_an_archive_that_is_another(tmp_path: Path, programs: Programs) -> None:
    source = pack(tmp_path / "nous-1.0.tar.gz", {"setup.py": ""}) | {"sha256": "0"}
    assert '"Read the archive" failed with' in run(tmp_path, programs, **source)["reason"]


def test_archives_that_are_none(tmp_path: Path) -> None:
    cut = tmp_path / "cut.tar.gz"
    pack(tmp_path / "whole.tar.gz", {"file": "x" * 9999})
    cut.write_bytes((tmp_path / "whole.tar.gz").read_bytes()[:60])
    with pytest.raises(BuildError, match=r"cut\.tar\.gz"):
        archive.unpack(cut, tmp_path / "a/source")
    for files, top, words in (({"x/a": "", "y/b": ""}, "", "one folder at its top: x, y"), ({"a": ""}, "", "top: a"), ({"../../out": ""}, "x/", "outside")):
        pack(tmp_path / "wrong.tar.gz", files, top)
        with pytest.raises(BuildError, match=words):
            archive.unpack(tmp_path / "wrong.tar.gz", tmp_path / words.split()[0] / "source")
    assert not list(tmp_path.rglob("out"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LOCK, "no hash for dep 1.0"),
        (LOCK + 'wheels = [{url = "x"}]\n', "no hash for dep 1.0"),
        (LOCK + 'sdist = {url = "x"}\nwheels = [{hash = "x"}]\n', "no hash for dep 1.0"),
        ("garbage =\n", "cannot be read"),
        ("package = 3\n", "cannot be read"),
        ("package = [3]\n", "cannot be read"),
        ("\udcff", "cannot be read"),
    ],
)
def test_locks_that_are_rejected(tmp_path: Path, text: str, words: str) -> None:
    """uv itself would install from most of them."""
    path = tmp_path / "uv.lock"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(BuildError, match=words):
        lock.check(path)


def test_locks_that_are_not_rejected(tmp_path: Path) -> None:
    path = tmp_path / "uv.lock"
    for text in ("", LOCK + 'wheels = [{hash = "x"}]\n', '[[package]]\nname = "nous"\nsource = {editable = "."}\n'):
        path.write_text(text)
        lock.check(path)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(BuildError, match="not a regular file"):
        lock.check(tmp_path / "fifo")


def test_git(tmp_path: Path, programs: Programs) -> None:
    made = configured(tmp_path, kind="git", url="https://example.org/nous.git", ref="v1")
    programs.answers["rev-parse"] = Completed(0, b"abc\n", b"")
    (tmp_path / ".gitmodules").touch()
    assert git.fetch(Tools(made), tmp_path, "url", "v1") == "abc"
    assert [call[-1] for call in programs.calls][-2:] == ["abc", "--recursive"]
    programs.acts["git init"] = lambda words: Path(words[-1]).mkdir()
    assert run(tmp_path, programs, kind="git", url="url", ref="v1")["changed"]
    assert json.loads((tmp_path / "releases" / NAME / "release.json").read_bytes())["commit"] == "abc"


def test_git_that_gives_whole_histories_only(tmp_path: Path, programs: Programs) -> None:
    made = configured(tmp_path, kind="git", url="url", ref="abc")
    programs.answers = {"--depth=1": Completed(1, b"", b"fatal: remote error: not our ref abc"), "FETCH_HEAD": Completed(1, b"", b"")}
    programs.answers |= {"--quiet abc^": Completed(1, b"", b""), "origin/abc^": Completed(0, b"abcdef\n", b"")}
    assert git.fetch(Tools(made), tmp_path, "url", "abc") == "abcdef"


@pytest.mark.parametrize("why", [b"fatal: not our ref abc", b"fatal: no such repository"])
def test_git_that_has_it_not(tmp_path: Path, programs: Programs, why: bytes) -> None:
    made = configured(tmp_path, kind="git", url="url", ref="abc")
    programs.answers = {"--depth=1": Completed(128, b"", why), "rev-parse": Completed(1, b"", b"")}
    with pytest.raises(BuildError, match=why.decode()):
        git.fetch(Tools(made), tmp_path, "url", "abc")


def test_the_newest_commit(tmp_path: Path, programs: Programs) -> None:
    made = configured(tmp_path, kind="git", url="url", ref="main")
    programs.answers["ls-remote"] = Completed(0, b"abc\trefs/heads/main\n", b"")
    assert git.newest_commit(made) == "abc"
    programs.answers["ls-remote"] = Completed(2, b"", b"")
    with pytest.raises(BuildError, match="there is no such branch"):
        git.newest_commit(made)
    programs.answers["ls-remote"] = Completed(128, b"", b"fatal: away\x1b[2J")
    with pytest.raises(BuildError, match=r"fatal: away\\x1b"):
        git.newest_commit(made)
    with pytest.raises(BuildError, match="no git repository"):
        git.newest_commit(configured(tmp_path))


def test_what_a_program_printed_is_told() -> None:
    assert tools.causes(Completed(1, b"", b"")) == "no message"
    assert tools.causes(Completed(1, b"one\ntwo\n", b"")) == "two"
    assert tools.causes(Completed(1, b"", b"error: a\ncause: b\nx\n")) == "error: a; cause: b"


def test_halves_are_removed_and_complete_releases_left_alone(tmp_path: Path) -> None:
    for name in ("whole", "half", "failed", NAME):
        (tmp_path / "releases" / name / "source").mkdir(parents=True)
        (tmp_path / "releases" / name / "file").touch()
    releases = tmp_path / "releases"
    (releases / "whole/release.json").touch()
    (releases / "failed/failed.json").touch()
    (releases / "stray").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").touch()
    (releases / "link").symlink_to(tmp_path / "elsewhere")
    release.clear(releases, NAME)
    assert sorted(path.name for path in releases.iterdir()) == ["failed", "stray", "whole"]
    assert [path.name for path in (releases / "failed").iterdir()] == ["failed.json"]
    assert (tmp_path / "elsewhere/file").exists()
    release.remove(releases / "absent")


def test_all_can_be_read_but_why_it_failed(tmp_path: Path) -> None:
    for name, mode in (("secret", 0o600), ("program", 0o700), ("failed.json", 0o600), ("fine", 0o644)):
        (tmp_path / name).touch(mode)
        (tmp_path / name).chmod(mode)
    (tmp_path / "link").symlink_to("/nowhere")
    release.make_readable(tmp_path)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if not path.is_symlink()}
    assert modes == {"secret": 0o644, "program": 0o755, "failed.json": 0o600, "fine": 0o644}


@pytest.mark.parametrize("content", ["", "{}", '{"python": "3.12.1"}'])
def test_what_is_not_built(tmp_path: Path, programs: Programs, content: str) -> None:
    (tmp_path / "release.json").write_text(content)
    assert not release.is_built(Tools(configured(tmp_path)), tmp_path)


@pytest.mark.parametrize("change", [{"root": None}, {"source": {"kind": "other"}}, {"source": {"kind": "git"}}, {"environment": 3}])
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


def test_the_unit_of_a_build(tmp_path: Path, programs: Programs) -> None:
    made = configured(tmp_path, **pack(tmp_path / "nous-1.0.tar.gz", {"setup.py": ""}))
    for name in ("whole", NAME):
        (tmp_path / "releases" / name).mkdir(parents=True)
        (tmp_path / "releases" / name / "release.json").touch()
    found = list(unit.properties(made))
    assert {"SocketBindDeny=any", "SocketBindAllow=ipv4:udp:1", "RestrictAddressFamilies=AF_INET AF_INET6", "CapabilityBoundingSet="} <= {*found}
    assert f"ReadOnlyPaths=-{tmp_path}/releases/whole" in found
    assert [each for each in found if each.startswith("ReadWritePaths")] == [
        f"ReadWritePaths=-{tmp_path}/releases",
        "ReadWritePaths=-/var/cache/uv",
        f"ReadWritePaths=-{tmp_path}",
    ]
    assert f"BindPaths={tmp_path}/locks/build.lock" in found
    assert "InaccessiblePaths=-/etc/nous" in found


def test_a_build_in_its_unit(tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [Completed(0, b'{"changed": true}', b""), Completed(1, b"", b"it was killed")]
    monkeypatch.setattr(unit, "run", lambda *_arguments, **_options: answers.pop(0))
    monkeypatch.setitem(configuration.ENVIRONMENT, "UV_CACHE_DIR", str(tmp_path / "cache"))
    made = configured(tmp_path)
    umask = os.umask(0o077)
    assert unit.build(made, NAME) == {"changed": True}
    assert os.umask(umask) == 0o077
    assert made.releases.stat().st_mode & 0o777 == 0o755, "the server has to read below it"
    with pytest.raises(NousVmError, match="was interrupted: it was killed"):
        unit.build(made, NAME)
    with pytest.raises(UsageError, match=r"is for git-.*, not for other"):
        unit.build(made, "other")


def test_the_command(tmp_path: Path, programs: Programs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    configured(tmp_path)
    config = f"--config={tmp_path}/build.json"
    umask = os.umask(0o022)
    os.umask(umask)
    assert cli.main(["build", NAME, config, "--here"]) == 0
    assert cli.main(["build", NAME, config, "--here"]) == 0
    os.umask(umask)
    assert capsys.readouterr().out == f"{NAME} is built\n{NAME} was built already\n"
    monkeypatch.setattr(command, "build", lambda _made, _name: {"changed": False, "reason": "the source gave no release"})
    assert cli.main(["build", NAME, config, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["message"] == "the source gave no release."
    assert cli.main(["build", "other", config]) == 2
    assert "build.json is for git-0123456789ab-py3.13, not for other" in capsys.readouterr().err
