"""nous-vm build from git: over each of its ways, with what root lends of its keys and passwords, and by signature."""

from __future__ import annotations

import pytest
from builds import FOLDER, Builder, pack, rejected
from host import only_full, rest

GIT = "git -c user.name=test -c user.email=test@nous.invalid -c init.defaultBranch=main"


@pytest.fixture(scope="module")
def commit(made: Builder, locked: dict[str, bytes]) -> str:
    """A repository with a tag, a commit after it that is returned, and another branch; also behind a server that gives whole histories only."""
    made.sh(f"rm -rf /srv/work /srv/index/nous.git; mkdir -p /srv/work && cd /srv/work && {GIT} init -q && tar -xz --strip-components=1", stdin=pack(locked))
    made.sh(f"cd /srv/work && git add . && {GIT} commit -qm one && git tag v1.0 && echo PART = 2 > src/nous/part.py && {GIT} commit -qam two")
    made.sh(f"cd /srv/work && git branch other && echo PART = 3 > src/nous/part.py && {GIT} commit -qam three")
    made.sh("git clone -q --bare /srv/work /srv/index/nous.git && cd /srv/index/nous.git && git update-server-info")
    return made.sh("git -C /srv/work rev-parse other")


ALONE, WHOLE = "file:///srv/work", "http://127.0.0.1:8000/nous.git"


@pytest.mark.parametrize(
    ("url", "ref", "part"),
    [
        (ALONE, "v1.0", 1),
        (WHOLE, "COMMIT", 2),
        *rest((ALONE, "COMMIT", 2), (ALONE, "ABBREVIATED", 2), (ALONE, "other", 2), (WHOLE, "v1.0", 1), (WHOLE, "main", 3)),
    ],
)
def test_git(builder: Builder, commit: str, url: str, ref: str, part: int) -> None:
    ref = {"COMMIT": commit, "ABBREVIATED": commit[:9]}.get(ref, ref)
    assert builder.build(kind="git", url=url, ref=ref)["changed"]
    assert builder.seen("__import__('nous.part').part.PART, dep.VERSION") == f"{part} 1.0"
    assert builder.about()["commit"] == builder.sh(f"git -C /srv/work rev-parse {ref}^{{commit}}")
    assert builder.sh(f"ls -A {FOLDER}").split() == ["release.json", "sbom.json", "source", "venv"]
    assert builder.sh(f"find {FOLDER} -name .git") == ""
    builder.assert_sound()


@only_full("rare")
def test_git_with_a_submodule(builder: Builder, commit: str) -> None:
    script = f"""
        rm -rf /srv/with /srv/index/with.git; {GIT} clone -q /srv/work /srv/with; cd /srv/with; {GIT} submodule --quiet add http://127.0.0.1:8000/nous.git part
        {GIT} commit -qm four; git clone -q --bare /srv/with /srv/index/with.git; cd /srv/index/with.git; git update-server-info"""
    builder.sh(script)
    builder.build(kind="git", url="http://127.0.0.1:8000/with.git", ref="main")
    assert builder.sh(f"cat {FOLDER}/source/part/src/nous/part.py") == "PART = 3"


@pytest.mark.parametrize(
    ("url", "ref", "words"),
    [
        (WHOLE, "v9", "v9"),
        *rest(
            (ALONE, "v9", "v9"),
            (ALONE, "0" * 40, "not our ref 0000"),
            ("file:///no/such.git", "v1.0", "/no/such.git"),
            ("https://127.0.0.1:9/nous.git", "v1.0", "127.0.0.1:9"),
        ),
    ],
)
def test_git_that_has_it_not(builder: Builder, commit: str, url: str, ref: str, words: str) -> None:
    rejected(builder, "Fetch the source from git", f"fatal: .*{words}", kind="git", url=url, ref=ref)
