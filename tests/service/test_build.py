"""nous-vm build with real uv and git, beside the service of a host, which asks nothing but a small package index on its loopback."""

from __future__ import annotations

import hashlib
import json
import random
import re
import subprocess
import time
from pathlib import Path

import pytest
from builds import FOLDER, PROJECT, RELEASE, ROOT, SENT, SOURCE, WHEELS, Builder, config, pack, rejected
from host import only_full, rest
from loads import FULL

KILLS = 20 if FULL else 2


def test_a_lock_is_honoured(builder: Builder, locked: dict[str, bytes]) -> None:
    assert builder.build(**builder.send(pack(locked)))["changed"]
    assert builder.seen("dep.VERSION") == "1.0"
    builder.assert_sound()
    about = builder.about()
    assert (about["release"], about["locked"], about["lock"], about["source"], about["commit"]) == (RELEASE, True, "fits", "the source", None)
    assert about["python"] == builder.sh("python3 -c 'import platform; print(platform.python_version())'")
    assert builder.sh(f"ls -A {Path(SENT).parent}") == ""
    assert not builder.build(kind="archive", archive=SENT)["changed"], "what is built is not built again"


def test_a_lock_that_does_not_fit_its_source(builder: Builder, locked: dict[str, bytes]) -> None:
    """uv would install from it. It is a warning, or the end."""
    stale = pack(locked | {"pyproject.toml": PROJECT.replace('"dep"', '"dep", "more"').encode()})
    words = "uv.lock does not fit pyproject.toml"
    rejected(builder, "Compare the lock with the source", words, **builder.send(stale), lock="fail")
    document = builder.build(**builder.send(stale))
    assert (words in document["warning"], builder.about()["lock"]) == (True, "stale")


def test_another_hash_than_the_lock_has_is_rejected(builder: Builder, locked: dict[str, bytes]) -> None:
    digest = hashlib.sha256(WHEELS["dep-1.0-py3-none-any.whl"]).hexdigest().encode()
    assert digest in locked["uv.lock"]
    tampered = locked | {"uv.lock": locked["uv.lock"].replace(digest, digest[::-1])}
    rejected(builder, "Download what it needs", "Hash mismatch for `dep==1.0`", **builder.send(pack(tampered)))
    assert builder.sh(f"ls -A {Path(SENT).parent}") == ""


@pytest.mark.parametrize("whose", [b"wheels", *rest(b"sdist")])
def test_a_lock_without_hashes_is_rejected(builder: Builder, locked: dict[str, bytes], whose: bytes) -> None:
    """uv itself would install from it."""
    lock = re.sub(rb', hash = "[^"]*"', b"", locked["uv.lock"], count=1)
    assert lock != locked["uv.lock"]
    if whose == b"sdist":
        lock = re.sub(rb"wheels = \[\n *({.*}),\n\]", rb"sdist = \1", lock, count=1)
        assert b"sdist" in lock
    rejected(builder, "Read the source's lock", "uv.lock has no hash for dep 1.0", **builder.send(pack(SOURCE | {"uv.lock": lock})))


@only_full("test_a_lock_without_hashes_is_rejected stands for it")
def test_a_lock_without_files_is_rejected(builder: Builder, locked: dict[str, bytes]) -> None:
    lock = re.sub(rb"wheels = \[\n.*\n\]\n", b"", locked["uv.lock"], count=1)
    assert lock != locked["uv.lock"]
    rejected(builder, "Read the source's lock", "uv.lock has no hash for dep 1.0", **builder.send(pack(SOURCE | {"uv.lock": lock})))


@pytest.mark.parametrize("lock", [b"garbage =\n", *rest(b"\xff\xfe", b"")], ids=["no TOML", "no text", "empty"])
def test_a_lock_that_cannot_be_read_is_rejected(builder: Builder, lock: bytes) -> None:
    rejected(builder, "Read the source's lock", "uv.lock", **builder.send(pack(SOURCE | {"uv.lock": lock})))


def test_without_a_lock_the_constraints_hold(builder: Builder) -> None:
    builder.build(**builder.send(pack(SOURCE)))
    assert (builder.seen("dep.VERSION"), builder.about()["locked"]) == ("1.0", False)
    builder.assert_sound()


def extra(name: str, version: str) -> str:
    """Return a line of extra requirements, as uv writes it."""
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(WHEELS[f'{name}-{version}-py3-none-any.whl']).hexdigest()}\n"


def test_a_wheel_with_extra_requirements(builder: Builder) -> None:
    name = "nous-1.0-py3-none-any.whl"
    builder.build(extra=extra("dep", "1.0") + extra("more", "1.0"), **builder.send(WHEELS[name], f"/var/cache/nous-vm/{name}"))
    assert builder.seen("dep.VERSION, __import__('more').VERSION, os.path.exists(__import__('more').__cached__)") == "1.0 1.0 True"
    assert [each["file"] for each in builder.about()["extra_packages"]] == ["more-1.0-py3-none-any.whl"]
    assert '"pkg:pypi/more@1.0"' in builder.sh(f"cat {FOLDER}/sbom.json")
    builder.assert_sound()


def test_extra_requirements_replace_nothing(builder: Builder) -> None:
    step = "Install the extra requirements, hashes checked"
    rejected(builder, step, "they replace dep==1.0, which the release needs", extra=extra("dep", "2.0"), **builder.send(pack(SOURCE)))


@only_full("unit tests stand for it")
@pytest.mark.parametrize(
    ("lines", "step", "words"),
    [
        (f"more==1.0 --hash=sha256:{'0' * 64}\n", "Resolve the extra requirements", "the hash of no wheel of more 1.0"),
        (extra("heavy", "1.0") + "more==9 --hash=sha256:00\n", "Resolve the extra requirements", "more==9"),
    ],
    ids=["hash", "version"],
)
def test_extra_requirements_that_are_rejected(builder: Builder, lines: str, step: str, words: str) -> None:
    rejected(builder, step, words, extra=lines, **builder.send(pack(SOURCE)))


@only_full("a wheel stands for it")
def test_an_index(builder: Builder) -> None:
    builder.build(kind="index", requirement="nous==1.0", constraints=[])
    assert builder.seen("dep.VERSION") == "2.0"
    builder.assert_sound()
    builder.sh(f"rm -r {ROOT}")
    rejected(builder, "Resolve what the server needs", "nous==9", kind="index", requirement="nous==9")


def archives() -> dict[str, tuple[bytes, str]]:
    """Return archives that cannot be one, each with the words of its rejection."""
    whole = pack(SOURCE)
    return {
        "no archive": (b"not an archive", "nous-1.0.tar.gz: .*not a gzip file"),
        "cut short": (whole[: len(whole) // 2], "nous-1.0.tar.gz"),
        "two folders": (pack(SOURCE | {"../other/file": b""}), "has not one folder at its top: nous-1.0, other"),
        "no folder": (pack({"pyproject.toml": b"", "setup.py": b""}, ""), "has not one folder at its top: pyproject.toml, setup.py"),
        "way out": (pack({"../../../../../../srv/out.py": b"out"}), "outside the destination"),
    }


NO_ARCHIVES = ["no archive", "cut short", "two folders", "no folder"]


@pytest.mark.parametrize(("archive", "words"), [archives()["way out"], *rest(*(archives()[name] for name in NO_ARCHIVES))], ids=["way out", *NO_ARCHIVES])
def test_an_archive_that_is_none_is_rejected(builder: Builder, archive: bytes, words: str) -> None:
    rejected(builder, "Unpack the source archive", words, **builder.send(archive))
    assert builder.sh("find / -xdev -name out.py") == ""


def test_another_archive_than_was_meant_is_rejected(builder: Builder) -> None:
    rejected(builder, "Read the archive", "its sha256 is another", **builder.send(pack(SOURCE)) | {"sha256": "0" * 64})


@pytest.mark.parametrize("break_it", ["sed -i '/python/s/: .*/: \"3.1.0\",/' release.json", *rest("rm venv/bin/python")], ids=["another", "gone"])
def test_a_release_without_its_interpreter_is_built_anew(builder: Builder, break_it: str) -> None:
    builder.build(kind="index", requirement="nous")
    builder.sh(f"cd {FOLDER} && {break_it} && touch old")
    assert builder.build(kind="index", requirement="nous")["changed"]
    assert "old" not in builder.sh(f"ls {FOLDER}")
    builder.assert_sound()


def test_other_releases_are_left_alone_and_halves_are_removed(builder: Builder) -> None:
    builder.build(kind="index", requirement="nous")
    builder.sh(f"cd {ROOT}/releases && mv {RELEASE} whole && mkdir half && touch half/file && mkdir bad && touch bad/failed.json bad/file")
    builder.sh(f"rm -rf /srv/elsewhere; mkdir /srv/elsewhere && touch /srv/elsewhere/file && ln -s /srv/elsewhere {ROOT}/releases/link")
    before = builder.sh(f"cd {ROOT}/releases/whole && find . -printf '%p %s %m %T@\\n' | sort")
    builder.build(kind="index", requirement="nous")
    assert builder.releases() == ["bad", RELEASE, "whole"]
    assert builder.sh("ls /srv/elsewhere") == "file", "a link was followed"
    assert builder.sh(f"ls {ROOT}/releases/bad") == "failed.json", "a release that failed is still known to have"
    assert builder.sh(f"cd {ROOT}/releases/whole && find . -printf '%p %s %m %T@\\n' | sort") == before


def test_killed_at_any_moment_it_is_made_anew(builder: Builder, heavy: dict[str, bytes]) -> None:
    """The program alone is killed, so that what it started goes on beside the next build, or is there to be waited for."""
    archive = pack(heavy)
    source = builder.send(archive)
    begun = time.monotonic()
    assert builder.call(config(**source), how="--here").returncode == 0
    lasted, reference = time.monotonic() - begun, builder.tree()
    cut = 0
    for number in range(KILLS):
        builder.sh(f"rm -rf {ROOT}")
        source = builder.send(archive)
        moment = lasted * (number + random.random()) / KILLS
        killed = builder.call(config(**source), before=f"timeout --signal=KILL --foreground {moment:.3f}", how="--here")
        whole = builder.sh(f"[ -e {FOLDER}/release.json ] && echo whole || true")
        assert whole == "" or builder.tree() == reference
        cut += whole == ""
        again = builder.build(**builder.send(archive))
        assert again["reason"] is None and again["changed"] == (whole == ""), (moment, killed, again)
        assert builder.tree() == reference, moment
    builder.assert_sound()
    print(f"a build took {lasted:.1f} s; {cut} of {KILLS} kills came before its end")
    assert cut >= KILLS // 2


def test_one_build_at_a_time(builder: Builder, heavy: dict[str, bytes]) -> None:
    source = builder.send(pack(heavy))
    command = ["docker", "exec", "--interactive", builder.container, "/usr/local/sbin/nous-vm", "build", RELEASE, "--config=-", "--json"]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        assert process.stdin
        process.stdin.write(json.dumps(config(**source)))
        process.stdin.close()
    documents = [json.loads(process.stdout.read()) for process in processes if process.stdout]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert sorted(each["changed"] for each in documents) == [False, False, True]
    builder.assert_sound()


def test_what_is_wrong_about_the_call_is_printed(builder: Builder) -> None:
    other = builder.call(config(kind="index", requirement="nous"), release="other-release")
    assert (other.returncode, json.loads(other.stdout)) == (2, {"message": "- is for some-release, not for other-release"})
    assert other.stderr == b"nous-vm build: - is for some-release, not for other-release\n"
    broken = builder.call({"release": RELEASE})
    assert (broken.returncode, json.loads(broken.stdout).keys()) == (2, {"message"})
    assert broken.stderr.startswith(b"nous-vm build: - cannot be used")
    missing = builder.sh(f"/usr/local/sbin/nous-vm build {RELEASE} --config /no/such.json 2>&1 || echo $?")
    assert re.fullmatch(r"nous-vm build: /no/such.json cannot be used: FileNotFoundError.*\n2", missing)
    gone = config(kind="index", requirement="nous") | {"python": "/no/python"}
    done = builder.call(gone)
    assert done.returncode == 1 and "/no/python is not installed" in json.loads(done.stdout)["reason"]
