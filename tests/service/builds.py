"""A host that builds, sources to build, and a small package index on its loopback."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shlex
import subprocess
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from host import Host

INDEX = "http://127.0.0.1:8000/simple"
RELEASE, ROOT = "some-release", "/srv/built"
FOLDER = f"{ROOT}/releases/{RELEASE}"
SENT = "/var/cache/nous-vm-test/nous-1.0.tar.gz"
STORE = "/var/cache/nous-vm/store"
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

    def build(self, extra: str = "", lock: str = "warn", **source: Any) -> dict[str, Any]:
        done = self.call(config(**source) | {"extra_requirements": extra, "lock": lock})
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
        """It is root's, anyone can read it, and what a module is compiled to is what Python runs, root's too: else that would write the release anew."""
        printed = self.sh(f"cd / && runuser -u nobody -- {FOLDER}/venv/bin/python -B -v -c 'import dep, nous' 2>&1")
        assert re.findall(r"code object from '.*/(\w+)/__pycache__/__init__[^/]*[.]pyc'", printed)[-2:] == ["dep", "nous"], printed[-3000:]
        assert self.sh(f"runuser -u nobody -- find {FOLDER} -not -readable -o -not -type l -perm /7022") == ""
        assert self.sh(f"find {FOLDER} -not -user root -o -not -group root") == ""


def config(**source: Any) -> dict[str, Any]:
    defaults = {"description": "the source", "url": "", "ref": "", "archive": "", "sha256": "", "requirement": "", "constraints": ["dep<2"], "signers": []}
    environment = {"UV_DEFAULT_INDEX": INDEX, "UV_HTTP_RETRIES": "0"}
    tools = {"python": "/usr/bin/python3", "uv": "/opt/uv/bin/uv", "environment": environment, "extra_requirements": "", "space": 64, "lock": "warn"}
    return {"release": RELEASE, "root": ROOT, "source": defaults | source} | tools


def rejected(builder: Builder, step: str, words: str, **source: Any) -> None:
    """It is rejected in one sentence, and nothing is left of it."""
    document = builder.build(**source)
    assert document["step"] == step, document
    assert re.fullmatch(f'the source gave no release: "{re.escape(step)}" failed with .*{words}.*', document["reason"]), document
    assert builder.releases() == []
