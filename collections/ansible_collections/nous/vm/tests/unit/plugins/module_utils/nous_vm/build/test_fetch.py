# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the two units do inside: which programs they run, and what they answer. git and uv are fakes; tests/service/test_build.py has the real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build import archive, fetch, git
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.tools import BuildError, Tools
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.programs import Completed
from ansible_collections.nous.vm.tests.unit.plugins.module_utils.nous_vm.build.fetching import COMMIT, HASH, PROJECT, PYLOCK, Ask, Programs, pack

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
    assert not any("install" in call or "sync" in call for call in programs.calls), "nothing that could run the source"
    assert (done["needed"], programs.given[-1]) == ([], b"back\n"), "a resolution that says nothing"
    other = inside_again(inside, programs, tmp_path, PROJECT.replace("back", "other"))
    assert other["builds"] != done["builds"]


NEEDS = '[build-system]\nrequires = {requires}\nbuild-backend = "{backend}"\n[project]\nname = "nous"\n'


@pytest.mark.parametrize(
    ("project", "asked"),
    [
        (NEEDS.format(requires='["back>=1", "more"]', backend="back"), True),
        (NEEDS.format(requires="[]", backend="back"), False),
        (NEEDS.format(requires='["uv_build"]', backend="uv_build"), False),
        (NEEDS.format(requires="1", backend="back"), False),
        ("build-system = 1", False),
        ("[build-system]\n", False),
        ("garbage =", False),
    ],
)
def test_what_the_source_says_that_its_build_needs(inside: Ask, programs: Programs, tmp_path: Path, project: str, asked: bool) -> None:
    pack(tmp_path / "nous.tar.gz", {"pyproject.toml": project, "uv.lock": "version = 1\n"})
    programs.answers = {"pip compile": Completed(0, PYLOCK.encode(), b"")}
    request = {"do": "source", "source": {"kind": "archive", "name": "nous.tar.gz"}}
    done = inside(request)
    assert [each["file"] for each in done["needed"]] == (["dep-1-py3-none-any.whl"] if asked else [])
    compiled = [call for call in programs.calls if "compile" in call]
    assert [{"--only-binary", ":all:"} <= {*call} for call in compiled] == [True] * asked
    (tmp_path / "got/source").rename(tmp_path / "before")
    assert inside(request | {"resolved": [done["builds"]]})["needed"] == [], "it is known from the last time"
    programs.answers = {"pip compile": Completed(1, b"", b"error: no such version")}
    (tmp_path / "got/source").rename(tmp_path / "before that")
    assert inside(request)["needed"] == [], "its build will ask for it"


def inside_again(inside: Ask, programs: Programs, tmp_path: Path, project: str) -> dict[str, Any]:
    (tmp_path / "got/source").rename(tmp_path / "before")
    programs.acts["checkout"] = checked_out({"uv.lock": "", "pyproject.toml": project})
    return inside({"do": "source", "source": GIT})


@pytest.mark.parametrize(("lock", "words"), [("garbage =", "cannot be read"), ('[[package]]\nname = "d"\nsource = {registry = "x"}', "no hash for d")])
def test_a_lock_that_is_rejected(inside: Ask, programs: Programs, tmp_path: Path, lock: str, words: str) -> None:
    pack(tmp_path / "nous.tar.gz", {"uv.lock": lock})
    done = inside({"do": "source", "source": {"kind": "archive", "name": "nous.tar.gz"}})
    assert words in done["error"] and done["step"] == "Read the source's lock"


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
    assert programs.given[0] == f"{wanted}\n".encode()
    assert "--no-build" in programs.calls[0]


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
        (Completed(128, b"", b"No user exists for uid 61190\n"), None, "a signature that cannot be verified [(]No user exists for uid 61190[)]"),
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
