# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the two units do inside: which programs they run, and what they answer. git and uv are fakes; tests/service/test_build.py has the real ones."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build import archive, download, fetch, git, make, tools
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.pylock import Package, told
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.stream import Receiver
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.tools import BuildError, Tools
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed

COMMIT = "0123456789ab" + "0" * 28
HASH = "0" * 64
PYLOCK = f'[[packages]]\nname = "dep"\nversion = "1"\nwheels = [{{url = "https://x/dep-1-py3-none-any.whl", hashes = {{sha256 = "{HASH}"}}}}]\n'
PROJECT = '[build-system]\nrequires = ["back"]\nbuild-backend = "back"\n[project]\nname = "nous"\ndependencies = ["dep"]\n'


class Programs:
    """git, uv and Python in the place of programs.run: answers by the words that a call has."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.given: list[bytes | None] = []
        self.answers: dict[str, Completed] = {}
        self.acts: dict[str, Callable[[list[str]], None]] = {}

    def run(self, argv: Sequence[str | Path], **options: Any) -> Completed:
        words = [str(each) for each in argv]
        self.calls.append(words)
        self.given.append(options.get("stdin"))
        line = " ".join(words)
        for part, act in self.acts.items():
            if part in line:
                act(words)
        return next((answer for part, answer in self.answers.items() if part in line), Completed(0, b"", b""))


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Programs:
    made = Programs()
    monkeypatch.setattr(tools, "run", made.run)
    return made


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Answer a request as the fetch unit does; return the result, with what came in tmp_path/got."""
    for name in ("work", "got"):
        (tmp_path / name).mkdir(exist_ok=True)
    monkeypatch.setattr(fetch, "ARCHIVES", tmp_path)

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        known = {
            "folder": str(tmp_path / "work"),
            "version": "3.13",
            "environment": {"A": "b"},
            "uv": "/uv",
            "python": "/python",
            "space": 1000,
            "constraints": ["c"],
        }
        out = io.BytesIO()
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(json.dumps(known | request).encode())))
        monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=out))
        fetch.main()
        return Receiver(tmp_path / "got", 1 << 20).receive(io.BytesIO(out.getvalue()))

    return ask


Ask = Callable[[dict[str, Any]], dict[str, Any]]
GIT = {"kind": "git", "url": "https://x/nous.git", "ref": "v1", "signers": []}


def checked_out(files: dict[str, str]) -> Callable[[list[str]], None]:
    def act(words: list[str]) -> None:
        for name, content in files.items():
            path = Path(words[2], name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")

    return act


def test_a_source_from_git_with_a_lock(inside: Ask, programs: Programs, tmp_path: Path) -> None:
    programs.answers = {
        "FETCH_HEAD^{tag}": Completed(1, b"", b""),
        "rev-parse": Completed(0, f"{COMMIT}\n".encode(), b""),
        "export": Completed(0, PYLOCK.encode(), b""),
    }
    programs.acts["git init"] = lambda words: Path(words[-1]).mkdir()
    programs.acts["checkout"] = checked_out(
        {"uv.lock": "", "pyproject.toml": PROJECT, ".gitmodules": "", ".git/config": "", "part/.git": "", "src/nous.py": "x"}
    )
    done = inside({"do": "source", "source": GIT})
    assert (done["commit"], done["signer"], done["locked"], len(done["builds"])) == (COMMIT, None, True, 64)
    assert [each["file"] for each in done["packages"]] == ["dep-1-py3-none-any.whl"]
    assert any(call[-1] == "--recursive" for call in programs.calls), "its submodules come too"
    export = next(call for call in programs.calls if "export" in call)
    assert {"--frozen", "--offline", "--no-dev", "--no-emit-project"} <= {*export}
    assert sorted(path.name for path in (tmp_path / "got/source").rglob("*")) == [".gitmodules", "nous.py", "part", "pyproject.toml", "src", "uv.lock"]
    assert not any("pip" in call or "sync" in call for call in programs.calls), "nothing that could run the source"
    other = inside_again(inside, programs, tmp_path, PROJECT.replace("back", "other"))
    assert other["builds"] != done["builds"]


def inside_again(inside: Ask, programs: Programs, tmp_path: Path, project: str) -> dict[str, Any]:
    (tmp_path / "got/source").rename(tmp_path / "before")
    programs.acts["checkout"] = checked_out({"uv.lock": "", "pyproject.toml": project})
    return inside({"do": "source", "source": GIT})


@pytest.mark.parametrize(("lock", "words"), [("garbage =", "cannot be read"), ('[[package]]\nname = "d"\nsource = {registry = "x"}', "no hash for d")])
def test_a_lock_that_is_rejected(inside: Ask, programs: Programs, tmp_path: Path, lock: str, words: str) -> None:
    pack(tmp_path / "nous.tar.gz", {"uv.lock": lock})
    done = inside({"do": "source", "source": {"kind": "archive", "name": "nous.tar.gz"}})
    assert words in done["error"] and done["step"] == "Read the source's lock"


def pack(path: Path, files: dict[str, str], top: str = "nous-1.0/") -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{top}{name}")
            entry.size, entry.mode = len(content), 0o600
            tar.addfile(entry, io.BytesIO(content.encode()))


@pytest.mark.parametrize("kind", ["source", "wheel", "index"])
def test_a_source_without_a_lock(inside: Ask, programs: Programs, tmp_path: Path, kind: str) -> None:
    pack(tmp_path / "nous.tar.gz", {"pyproject.toml": PROJECT})
    programs.answers["pip compile"] = Completed(0, PYLOCK.encode(), b"")
    source = (
        {"kind": "archive", "name": "nous.tar.gz" if kind == "source" else "nous-1-py3-none-any.whl"}
        if kind != "index"
        else {"kind": "index", "requirement": "nous==1"}
    )
    done = inside({"do": "source", "source": source})
    assert (done["locked"], done["commit"], len(done["packages"])) == (False, None, 1)
    wanted = {"source": "dep", "wheel": f"nous @ file://{tmp_path}/nous-1-py3-none-any.whl", "index": "nous==1"}[kind]
    assert programs.given[-1] == f"{wanted}\n".encode()
    assert "--no-build" in programs.calls[-1]


@pytest.mark.parametrize("project", [None, "[project]\nname = 'x'\ndynamic = ['dependencies']\n", "[tool.x]\n", "garbage"])
def test_only_a_build_could_tell_what_it_needs(inside: Ask, programs: Programs, tmp_path: Path, project: str | None) -> None:
    pack(tmp_path / "nous.tar.gz", {"setup.py": ""} | ({"pyproject.toml": project} if project else {}))
    done = inside({"do": "source", "source": {"kind": "archive", "name": "nous.tar.gz"}})
    assert "uv.lock" in done["error"] and done["step"] == "Resolve what the server needs"


def test_requirements_of_builds_are_resolved_to_wheels(inside: Ask, programs: Programs) -> None:
    programs.answers["pip compile"] = Completed(0, PYLOCK.encode(), b"")
    done = inside({"do": "resolve", "requirements": [["a", "b>1"], ["c"]]})
    assert len(done["packages"]) == 1 and programs.given == [b"a\nb>1\n", b"c\n"]
    assert all(" ".join(call).count("--only-binary :all:") == 1 for call in programs.calls)
    programs.answers["pip compile"] = Completed(1, b"", b"chatter\nerror: no\ncause: away\n")
    assert inside({"do": "resolve", "requirements": [["a"]]})["error"] == "error: no; cause: away"


def test_extra_requirements_are_found_by_their_hashes(inside: Ask, programs: Programs) -> None:
    """uv takes no notice of hashes when it resolves; of an index that has other files under the same version none is taken."""
    wheels = [f'{{url = "https://x/dep-1-{tag}.whl", hashes = {{sha256 = "{digit * 64}"}}}}' for tag, digit in (("cp313-none-any", "1"), ("py3-none-any", "0"))]
    sdist = f'sdist = {{url = "https://x/dep-1.tar.gz", hashes = {{sha256 = "{"2" * 64}"}}}}'
    programs.answers["pip compile"] = Completed(0, f'[[packages]]\nname = "dep"\nversion = "1"\nwheels = [{", ".join(wheels)}]\n{sdist}\n'.encode(), b"")
    given = f"Dep==1 --hash=sha256:{HASH} --hash=sha256:{'2' * 64}"
    assert [each["sha256"] for each in inside({"do": "extra", "requirements": given})["packages"]] == [HASH]
    assert programs.given == [f"{given}\n".encode()]
    assert {"--no-deps", "--only-binary"} <= {*programs.calls[0]}
    for other in (f"dep==1 --hash=sha256:{'2' * 64}", f"other==1 --hash=sha256:{HASH}"):
        done = inside({"do": "extra", "requirements": other})
        assert "has the hash of no wheel of dep 1" in done["error"] and done["step"] == "Resolve the extra requirements"


def test_git_that_gives_whole_histories_only(inside: Ask, programs: Programs) -> None:
    programs.acts["git init"] = lambda words: Path(words[-1]).mkdir()
    programs.answers = {"--depth=1": Completed(1, b"", b"fatal: remote error: not our ref abc"), "FETCH_HEAD": Completed(1, b"", b"")}
    programs.answers |= {"--quiet v1^{commit}": Completed(1, b"", b""), "origin/v1^": Completed(0, COMMIT.encode(), b"")}
    assert "uv.lock" in inside({"do": "source", "source": GIT})["error"], "it came as far as to read the source"
    programs.answers = {"--depth=1": Completed(128, b"", b"fatal: no such repository"), "rev-parse": Completed(1, b"", b"")}
    done = inside({"do": "source", "source": GIT})
    assert (done["error"], done["step"]) == ("fatal: no such repository", "Fetch the source from git")


def test_the_newest_commit(inside: Ask, programs: Programs) -> None:
    programs.answers["ls-remote"] = Completed(0, f"{COMMIT}\trefs/heads/v1\n".encode(), b"")
    assert inside({"do": "newest", "source": GIT})["commit"] == COMMIT
    programs.answers["ls-remote"] = Completed(2, b"", b"")
    assert inside({"do": "newest", "source": GIT})["error"] == "there is no such branch"
    programs.answers["ls-remote"] = Completed(128, b"", b"fatal: away\x1b[2J")
    assert inside({"do": "newest", "source": GIT})["error"] == "fatal: away\\x1b[2J"


GOOD = b'Good "git" signature for dev@example.org with ED25519 key SHA256:x\n'


@pytest.mark.parametrize(
    ("commit", "tag", "words"),
    [
        (Completed(0, b"", GOOD), None, ""),
        (Completed(1, b"", b""), Completed(0, b"", GOOD), ""),
        (Completed(1, b"", b""), None, "the commit 0123456789ab has no signature"),
        (Completed(1, b"", b'Good "git" signature with ED25519 key SHA256:x\nNo principal matched.\n'), None, "has the signature of another"),
        (Completed(0, b"", b"who knows\n"), Completed(1, b"", b"error: no signature found\n"), "and the tag 0123456789ab has no signature"),
    ],
)
def test_signatures(tmp_path: Path, programs: Programs, commit: Completed, tag: Completed | None, words: str) -> None:
    programs.answers = {"verify-commit": commit, "verify-tag": tag or Completed(1, b"", b"")}
    known = Tools({"HOME": str(tmp_path)})
    signers = ["dev@example.org ssh-ed25519 AAAA"]
    if words:
        with pytest.raises(BuildError, match=words):
            git.verify(known, ["git"], COMMIT, COMMIT if tag else "", signers)
    else:
        assert git.verify(known, ["git"], COMMIT, COMMIT if tag else "", signers) == "dev@example.org"
    assert (tmp_path / "allowed_signers").read_text() == f"{signers[0]}\n"


def test_what_root_lent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lent, home = tmp_path / "lent", tmp_path / "home"
    lent.mkdir()
    home.mkdir()
    for name in ("id_ed25519", "known_hosts", "netrc", "git-credentials"):
        (lent / name).touch()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(lent))
    made = fetch.prepare(home, {"HTTPS_PROXY": "http://p"})
    assert f"-i {lent}/id_ed25519" in made["GIT_SSH_COMMAND"] and made["HTTPS_PROXY"] == "http://p"
    assert (home / ".netrc").resolve() == lent / "netrc"
    assert "git-credentials" in (home / ".gitconfig").read_text()


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


class Files(http.server.BaseHTTPRequestHandler):
    """A server with a few files."""

    def do_GET(self) -> None:
        content = b"x" * (5000 if "large" in self.path else 5)
        self.send_response(404 if "absent" in self.path else 200)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as listening:
        threading.Thread(target=listening.serve_forever).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


def wanted(url: str, content: bytes = b"xxxxx") -> Package:
    return Package("dep", "1", "", "dep-1-py3-none-any.whl", url, hashlib.sha256(content).hexdigest())


def test_files_are_downloaded(inside: Ask, server: str, tmp_path: Path) -> None:
    package = wanted(f"{server}/file")
    assert "error" not in inside({"do": "files", "packages": told([package])})
    assert (tmp_path / "got" / package.sha256).read_bytes() == b"xxxxx"


@pytest.mark.parametrize(
    ("path", "words"), [("other", "Hash mismatch for `dep==1`"), ("large", "more than 1000 bytes"), ("absent", "404"), ("/etc/passwd", "begins with neither")]
)
def test_files_that_are_not_taken(inside: Ask, server: str, path: str, words: str) -> None:
    url = f"file://{path}" if path.startswith("/") else f"{server}/{path}"
    done = inside({"do": "files", "packages": told([wanted(url, b"another")])})
    assert words in done["error"] and done["step"] == "Download what it needs"


def test_passwords_are_sent_over_tls_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine x login me password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert download._request("https://x/file").get_header("Authorization") == "Basic bWU6c2VjcmV0"
    assert download._request("http://x/file").get_header("Authorization") is None
    assert download._request("https://y/file").get_header("Authorization") is None


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
    assert lines[-1].endswith("compileall -q " + str(unit.root / "release-1/source/src"))
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
