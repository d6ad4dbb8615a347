"""nous-vm build with real uv and git, beside the service of a host, which asks nothing but a small package index on its loopback."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random
import re
import shlex
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from host import FULL, Host, only_full, rest

INDEX = "http://127.0.0.1:8000/simple"
RELEASE, ROOT = "some-release", "/srv/built"
FOLDER = f"{ROOT}/releases/{RELEASE}"
SENT = "/var/cache/nous-vm-test/nous-1.0.tar.gz"
STORE = "/var/cache/nous-vm/store"
KILLS = 60 if FULL else 2
PROJECT = """
[build-system]
requires = ["uv_build>=0.13,<0.14"]
build-backend = "uv_build"
[project]
name = "nous"
version = "1.0"
requires-python = ">=3.12"
dependencies = ["dep"]
"""
HEAVY = PROJECT.replace('"dep"', '"dep", "heavy"')  # what takes a while to install
SOURCE = {"pyproject.toml": PROJECT.encode(), "src/nous/__init__.py": b"import dep\n", "src/nous/part.py": b"PART = 1\n"}


def wheel(name: str, version: str, files: dict[str, str], requires: tuple[str, ...] = ()) -> bytes:
    """Return a wheel, the same one every time."""
    about = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    files |= {f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"}
    files |= {f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    digests = [(path, base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()) for path, text in files.items()]
    record = "".join(f"{path},sha256={digest},{len(files[path])}\n" for path, digest in digests)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        for path, text in (files | {f"{about}/RECORD": f"{record}{about}/RECORD,,\n"}).items():
            zipped.writestr(zipfile.ZipInfo(path), text)
    return packed.getvalue()


WHEELS = {
    "dep-1.0-py3-none-any.whl": wheel("dep", "1.0", {"dep/__init__.py": "VERSION = '1.0'\n"}),
    "dep-2.0-py3-none-any.whl": wheel("dep", "2.0", {"dep/__init__.py": "VERSION = '2.0'\n"}),
    "heavy-1.0-py3-none-any.whl": wheel("heavy", "1.0", {f"heavy/m{number}.py": f"VALUES = {list(range(999))}\n" for number in range(100)}),
    "more-1.0-py3-none-any.whl": wheel("more", "1.0", {"more/__init__.py": "VERSION = '1.0'\n"}, ("dep",)),
    "nous-1.0-py3-none-any.whl": wheel("nous", "1.0", {"nous/__init__.py": "import dep\n"}, ("dep",)),
}


def pack(files: dict[str, bytes], top: str = "nous-1.0/") -> bytes:
    """Return a source archive whose files are for their owner alone."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{top}{name}")
            entry.size, entry.mode, entry.uid = len(content), 0o600, 1234
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


class Builder:
    """A host with the program, uv and git, and an index."""

    def __init__(self, host: Host, index: bool = True) -> None:
        self.container = host.container
        if index:
            self.serve()

    def serve(self) -> None:
        """Serve the index."""
        for name in {name.split("-")[0] for name in WHEELS}:
            wheels = {file: content for file, content in WHEELS.items() if file.startswith(f"{name}-")}
            links = "".join(f'<a href="/files/{file}#sha256={hashlib.sha256(content).hexdigest()}">{file}</a>' for file, content in wheels.items())
            self.put(f"/srv/index/simple/{name}/index.html", f"<!DOCTYPE html><html><body>{links}</body></html>".encode())
            for file, content in wheels.items():
                self.put(f"/srv/index/files/{file}", content)
        self.sh("systemd-run --quiet --unit=index python3 -m http.server --bind 127.0.0.1 --directory /srv/index 8000")
        self.sh("timeout 30 bash -c 'until : < /dev/tcp/127.0.0.1/8000; do sleep 0.1; done' 2> /dev/null")

    def sh(self, script: str, stdin: bytes | None = None, check: bool = True) -> str:
        command = ["docker", "exec", "--interactive", self.container, "bash", "-eu", "-c", script]
        done = subprocess.run(command, input=stdin, capture_output=True, check=False)
        assert not check or done.returncode == 0, f"{script}: {(done.stdout + done.stderr).decode()}"
        return done.stdout.decode().strip()

    def put(self, path: str, content: bytes) -> None:
        self.sh(f"mkdir -p {Path(path).parent} && cat > {path}", stdin=content)

    def lock(self, project: str) -> bytes:
        """Return a lock that uv made of a project, with the older of two versions."""
        self.put("/srv/source/pyproject.toml", project.encode())
        self.sh(f"cd /srv/source && UV_PYTHON_DOWNLOADS=never /opt/uv/bin/uv lock -q --no-cache --default-index {INDEX} -P dep==1.0")
        return self.sh("cat /srv/source/uv.lock").encode()

    def call(self, config: dict[str, Any], release: str = RELEASE, before: str = "umask 027; exec", how: str = "") -> subprocess.CompletedProcess[bytes]:
        command = ["docker", "exec", "--interactive", self.container, "bash", "-c", f"{before} /usr/local/sbin/nous-vm build {release} --config - --json {how}"]
        return subprocess.run(command, input=json.dumps(config).encode(), capture_output=True, check=False)

    def build(self, extra: str = "", **source: Any) -> dict[str, Any]:
        done = self.call(config(**source) | {"extra_requirements": extra})
        assert done.returncode in (0, 1), done
        document: dict[str, Any] = json.loads(done.stdout)
        assert (done.returncode == 1) == bool(document["reason"]), document
        return document

    def send(self, archive: bytes, path: str = SENT) -> dict[str, str]:
        self.put(path, archive)
        return {"kind": "archive", "archive": path, "sha256": hashlib.sha256(archive).hexdigest()}

    def about(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.sh(f"cat {FOLDER}/release.json"))
        return found

    def seen(self, expression: str) -> str:
        """Return what Python of the release says, as an account that owns nothing and may write nothing."""
        program = f"import dep, nous, os.path; print({expression})"
        return self.sh(f"cd / && runuser -u nobody -- {FOLDER}/venv/bin/python -B -c {shlex.quote(program)}")

    def tree(self) -> str:
        """Return every file with size, mode and owner; of uv's note of when a source was made not the size, which has as many digits as the time."""
        files = "find . -type f -not -name release.json -not -name sbom.json"
        return self.sh(f"cd {FOLDER} && {files} -printf '%p %m %u ' \\( -name uv_cache.json -printf '\\n' -o -printf '%s\\n' \\) | sort")

    def releases(self) -> list[str]:
        return self.sh(f"ls -A {ROOT}/releases").split()

    def assert_sound(self) -> None:
        """It is root's, anyone can read it, and every module of it is compiled."""
        assert self.seen("all(os.path.exists(module.__cached__) for module in (nous, dep))") == "True"
        assert self.sh(f"runuser -u nobody -- find {FOLDER} -not -readable -o -not -type l -perm /7022") == ""
        assert self.sh(f"find {FOLDER} -not -user root -o -not -group root") == ""


def config(**source: Any) -> dict[str, Any]:
    defaults = {"description": "the source", "url": "", "ref": "", "archive": "", "sha256": "", "requirement": "", "constraints": ["dep<2"], "signers": []}
    environment = {"UV_DEFAULT_INDEX": INDEX, "UV_HTTP_RETRIES": "0"}
    tools = {"python": "/usr/bin/python3", "uv": "/opt/uv/bin/uv", "environment": environment, "extra_requirements": "", "space": 64, "lock": "warn"}
    return {"release": RELEASE, "root": ROOT, "source": defaults | source} | tools


@pytest.fixture(scope="module")
def made(host: Host) -> Iterator[Builder]:
    builder = Builder(host)
    yield builder
    builder.sh("systemctl stop index.service")


@pytest.fixture
def builder(made: Builder) -> Builder:
    """Nothing is built yet, and nothing of the index is in uv's cache."""
    made.sh(f"rm -rf {ROOT} {STORE} {Path(SENT).parent}")
    return made


@pytest.fixture(scope="module")
def locked(made: Builder) -> dict[str, bytes]:
    return SOURCE | {"uv.lock": made.lock(PROJECT)}


@pytest.fixture(scope="module")
def heavy(made: Builder) -> dict[str, bytes]:
    return SOURCE | {"pyproject.toml": HEAVY.encode(), "uv.lock": made.lock(HEAVY)}


def rejected(builder: Builder, step: str, words: str, **source: Any) -> None:
    """It is rejected in one sentence, and nothing is left of it."""
    document = builder.build(**source)
    assert document["step"] == step, document
    assert re.fullmatch(f'the source gave no release: "{re.escape(step)}" failed with .*{words}.*', document["reason"]), document
    assert builder.releases() == []


def test_a_lock_is_honoured(builder: Builder, locked: dict[str, bytes]) -> None:
    assert builder.build(**builder.send(pack(locked)))["changed"]
    assert builder.seen("dep.VERSION") == "1.0"
    builder.assert_sound()
    about = builder.about()
    assert (about["release"], about["locked"], about["source"], about["commit"]) == (RELEASE, True, "the source", None)
    assert about["python"] == builder.sh("python3 -c 'import platform; print(platform.python_version())'")
    assert builder.sh(f"ls -A {Path(SENT).parent}") == ""
    assert not builder.build(kind="archive", archive=SENT)["changed"], "what is built is not built again"


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
    step = "Read the source's lock" if lock else "Install what the lock says, hashes checked"
    rejected(builder, step, "uv.lock", **builder.send(pack(SOURCE | {"uv.lock": lock})))


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
