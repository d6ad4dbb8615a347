# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others' tools say of an archive: a Galaxy server's importer, ansible-builder, CycloneDX's schema. They are in an environment of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import build
import pytest
from controller import REPOSITORY

CONFIGURATION = """[galaxy-importer]
RUN_FLAKE8 = True
RUN_ANSIBLE_TEST = False
RUN_ANSIBLE_LINT = False
CHECK_REQUIRED_TAGS = True
CHECK_CHANGELOG = True
REQUIRE_V1_OR_GREATER = True
"""
VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1], encoding="utf-8").read())
sys.exit(str(found) if found else 0)
"""


@pytest.fixture(scope="module")
def tools() -> Path:
    return build.environment("importer", REPOSITORY / "tests/release/importer.txt")


def run(tools: Path, *argv: str | Path, cwd: Path, **environment: str) -> str:
    own = {"PATH": f"{tools}:/usr/bin:/bin", "HOME": str(cwd), "LC_ALL": "C.UTF-8"}
    done = subprocess.run([str(each) for each in argv], cwd=cwd, env=os.environ | own | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_galaxy_server_takes_it_without_a_word(tools: Path, plain: Path, tmp_path: Path) -> None:
    (archive,) = plain.glob("*.tar.gz")
    (tmp_path / "importer.cfg").write_text(CONFIGURATION, encoding="utf-8")
    (tmp_path / "ansible.cfg").touch()
    own = {"GALAXY_IMPORTER_CONFIG": str(tmp_path / "importer.cfg"), "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg")}
    printed = run(tools, "python", "-m", "galaxy_importer.main", archive, cwd=tmp_path, **own)
    assert "Importer processing completed successfully" in printed
    assert [line for line in printed.splitlines() if line.startswith(("WARNING", "ERROR"))] == []


def test_the_bill_of_materials_is_one(tools: Path, plain: Path, tmp_path: Path) -> None:
    (bill,) = plain.glob("*.cdx.json")
    run(tools, "python", "-c", VALIDATE, bill, cwd=tmp_path)


def test_an_execution_environment_can_be_defined(tools: Path, tmp_path: Path) -> None:
    for name in ("execution-environment.yml", "requirements.yml"):
        shutil.copy2(REPOSITORY / "examples" / name, tmp_path)
    run(tools, "ansible-builder", "create", "--file", tmp_path / "execution-environment.yml", "--context", tmp_path / "context", cwd=tmp_path)
    assert "ssh://git@git.example.org/ops/nous.vm.git" in (tmp_path / "context/_build/requirements.yml").read_text(encoding="utf-8")


def test_it_names_what_a_controller_needs(tools: Path, tmp_path: Path) -> None:
    """ansible-builder's own reading of the collection: which packages of Python and of the distribution."""
    installed = tmp_path / "ansible_collections/nous/vm"
    installed.parent.mkdir(parents=True)
    installed.symlink_to(REPOSITORY / build.COLLECTION)
    printed = run(tools, "ansible-builder", "introspect", tmp_path, cwd=tmp_path)
    assert "cryptography" in printed
    assert "openssh-client" in printed
