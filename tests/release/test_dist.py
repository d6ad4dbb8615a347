# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make dist` writes: the same bytes for the same commit, sums and signatures that hold, a bill of materials of what is in it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dist
import pytest
import sbom
import yaml
from building import build
from clone import clone as made
from clone import run
from controller import REPOSITORY

COLLECTION = REPOSITORY / dist.COLLECTION
ELSEWHERE = "https://git.example.org/ops/nous.vm"
STEM = f"nous-vm-{dist.project()['version']}"


@pytest.fixture(scope="module")
def gpg(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The home of a throw-away key, its fingerprint the name of a file in it."""
    home = tmp_path_factory.mktemp("gpg")
    home.chmod(0o700)
    own = {"GNUPGHOME": str(home)}
    run("gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", "A test <test@example.org>", "ed25519", "sign", "1d", cwd=home, **own)
    yield str(home)
    run("gpgconf", "--kill", "all", cwd=home, **own)


@pytest.fixture(scope="module")
def fingerprint(gpg: str) -> str:
    listed = run("gpg", "--list-secret-keys", "--with-colons", cwd=Path(gpg), GNUPGHOME=gpg)
    return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))


@pytest.fixture(scope="module")
def signed(gpg: str, fingerprint: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same release, signed, as another person builds it: another folder, clone, umask, time zone and language."""
    other = made(tmp_path_factory.mktemp("other"))
    to = tmp_path_factory.mktemp("signed") / "dist"
    done = build(other, to, "--key", fingerprint, umask=0o077, GNUPGHOME=gpg, TZ="Asia/Tokyo", LC_ALL="C", HOME=gpg)
    assert done.returncode == 0, done.stderr
    return to


@pytest.mark.parametrize("name", [f"{STEM}.tar.gz", f"{STEM}.cdx.json", f"{STEM}.MANIFEST.json"])
def test_the_same_commit_gives_the_same_bytes(plain: Path, signed: Path, name: str) -> None:
    assert (plain / name).read_bytes() == (signed / name).read_bytes()


def test_the_sums_are_of_all_files(plain: Path, signed: Path) -> None:
    for folder in (plain, signed):
        run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=folder)
        named = set(re.findall(r"^[0-9a-f]{64}  (\S+)$", (folder / "SHA256SUMS").read_text(encoding="ascii"), re.MULTILINE))
        assert named | {"SHA256SUMS", "SHA256SUMS.asc"} == {each.name for each in folder.iterdir()} | {"SHA256SUMS.asc"}


def test_the_signature_of_the_sums_holds(signed: Path, gpg: str) -> None:
    run("gpg", "--verify", "SHA256SUMS.asc", "SHA256SUMS", cwd=signed, GNUPGHOME=gpg)


class TestVerify:
    """`ansible-galaxy collection verify`, as docs/install.md has it."""

    @pytest.fixture
    def installed(self, signed: Path, gpg: str, tmp_path: Path) -> Path:
        for name in (f"{STEM}.tar.gz", f"{STEM}.MANIFEST.json.asc"):
            (tmp_path / name).write_bytes((signed / name).read_bytes())
        (tmp_path / "ansible.cfg").touch()
        run("gpg", "--export", "--output", tmp_path / "keyring.gpg", cwd=tmp_path, GNUPGHOME=gpg)
        run("ansible-galaxy", "collection", "install", tmp_path / f"{STEM}.tar.gz", "-p", tmp_path, cwd=tmp_path, **self.own(tmp_path))
        return tmp_path

    def own(self, folder: Path) -> dict[str, str]:
        return {"ANSIBLE_CONFIG": str(folder / "ansible.cfg"), "ANSIBLE_HOME": str(folder / "home"), "ANSIBLE_COLLECTIONS_PATH": str(folder)}

    def verify(self, folder: Path) -> tuple[int, str]:
        text = (REPOSITORY / "docs/install.md").read_text(encoding="utf-8")
        (command,) = re.findall(r"^    (ansible-galaxy collection verify .*)$", text, re.MULTILINE)
        done = subprocess.run(["bash", "-c", command], cwd=folder, env=os.environ | self.own(folder), capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def test_what_was_signed_holds_and_what_was_changed_does_not(self, installed: Path) -> None:
        assert self.verify(installed)[0] == 0
        readme = installed / "ansible_collections/nous/vm/README.md"
        before = readme.read_bytes()
        readme.write_bytes(before + b"x")
        code, printed = self.verify(installed)
        assert code != 0
        assert "README.md" in printed
        readme.write_bytes(before)
        manifest = installed / "ansible_collections/nous/vm/MANIFEST.json"  # whoever changes a file changes its digest there too
        manifest.write_bytes(manifest.read_bytes() + b"\n")
        code, printed = self.verify(installed)
        assert code != 0
        assert "Signature verification failed" in printed


@pytest.fixture(scope="module")
def packed(plain: Path) -> dict[str, bytes]:
    """What is in the archive, by name."""
    with tarfile.open(plain / f"{STEM}.tar.gz") as archive:
        return {each.name: file.read() for each in archive.getmembers() if (file := archive.extractfile(each) if each.isfile() else None)}


def test_the_changelog_is_built(packed: dict[str, bytes]) -> None:
    assert f"\nv{dist.project()['version']}\n" in packed["CHANGELOG.rst"].decode()
    assert [name for name in packed if name.startswith("changelogs/fragments/")] == []
    assert list(yaml.safe_load(packed["changelogs/changelog.yaml"])["releases"]) == [dist.project()["version"]]


def test_what_an_operator_does_first_stands_first() -> None:
    sections = yaml.safe_load((COLLECTION / "changelogs/config.yaml").read_text(encoding="utf-8"))["sections"]
    assert sections[0] == ["before_upgrade", "Before You Upgrade"]


def test_galaxy_yml_has_what_pyproject_has() -> None:
    for path in (REPOSITORY / "galaxy.yml", COLLECTION / "galaxy.yml"):
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert found["version"] == dist.project()["version"]
        assert {name: found[name] for name in dist.addresses("")} == dist.addresses(dist.project()["urls"]["Repository"])
    package = COLLECTION / "plugins/module_utils/nous_vm/__init__.py"
    assert f'VERSION = "{dist.project()["version"]}"' in package.read_text(encoding="utf-8"), "a host knows its version by that"


def test_nothing_else_names_the_repository() -> None:
    """It is one variable: what a person is told to run never has it, because nothing is there yet."""
    address = dist.project()["urls"]["Repository"]
    listed = run("git", "grep", "--untracked", "--files-with-matches", "--fixed-strings", address, cwd=REPOSITORY).splitlines()
    assert [name for name in listed if not name.endswith(("galaxy.yml", "pyproject.toml", "ISSUE_TEMPLATE/config.yml"))] == []


def test_another_address_is_in_the_archive_alone() -> None:
    galaxy = (COLLECTION / "galaxy.yml").read_text(encoding="utf-8")
    changed = yaml.safe_load(dist.addressed(galaxy, ELSEWHERE))
    assert {name: changed[name] for name in dist.addresses("")} == dist.addresses(ELSEWHERE)
    assert yaml.safe_load(galaxy) == changed | dist.addresses(dist.project()["urls"]["Repository"])


def test_the_bill_has_what_is_in_the_locks(plain: Path, packed: dict[str, bytes]) -> None:
    bill: dict[str, Any] = json.loads((plain / f"{STEM}.cdx.json").read_bytes())
    lines = [line.split(" ")[0] for name in sbom.LOCKS for line in packed[name].decode().splitlines()]
    assert [f"{each['name']}=={each['version']}" for each in bill["components"] if "version" in each] == lines
    assert {"caddy", "haproxy"} <= {each["name"] for each in bill["components"]}
    own = bill["metadata"]["component"]
    assert own["hashes"][0]["content"] == dist.sha256(plain / f"{STEM}.tar.gz")
    references = [each["bom-ref"] for each in bill["components"]]
    assert len(set(references)) == len(references)
    assert bill["dependencies"] == [{"ref": own["bom-ref"], "dependsOn": references}]


@pytest.mark.parametrize("address", ["git.example.org/nous.vm", "https://git.example.org", "https://git.example.org/nous.vm/", "https://a b/c"])
def test_an_address_that_is_none_is_rejected(tree: Path, tmp_path: Path, address: str) -> None:
    done = build(tree, tmp_path / "dist", "--repository", address)
    assert done.returncode != 0
    assert f'--repository is "{address}"; allowed is an https URL' in done.stderr


def test_what_is_not_committed_is_no_release(tree: Path, tmp_path: Path) -> None:
    (tree / "stray").touch()
    done = build(tree, tmp_path / "dist")
    (tree / "stray").unlink()
    assert done.returncode != 0
    assert "stray" in done.stderr
    assert not (tmp_path / "dist").exists()
