# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The molecule scenario of examples, in an estate of its own that knows of the collection what `ansible-galaxy collection install` brings."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from clone import run
from controller import REPOSITORY
from forms import Form

FORM = Form(os.environ.get("NOUS_VM_RELEASE") == "full", "make release-full")
pytestmark = FORM.only_full("it takes as long as a first run on a new host, twice")


def estate(folder: Path) -> Path:
    """Return an estate with the scenario, as docs/ci.md has it, and with the stand-in as the server, because its repository cannot be reached from here."""
    shutil.copytree(REPOSITORY / "examples/molecule", folder / "molecule")
    archive = folder / "nous-1.0.0.tar.gz"
    run(REPOSITORY / "tests/standin/pack.py", archive, cwd=folder)
    path = folder / "molecule/nous/molecule.yml"
    scenario = yaml.safe_load(path.read_text(encoding="utf-8"))
    scenario["provisioner"]["inventory"]["group_vars"]["nous"] |= {"nous_service_source": "archive", "nous_service_archive": str(archive)}
    path.write_text(yaml.safe_dump(scenario), encoding="utf-8")
    return folder


def test_the_scenario_that_an_estate_copies(plain: Path, tmp_path: Path) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MOLECULE_"))}
    own |= {"HOME": str(tmp_path / "home"), "NOUS_VM_SUFFIX": str(os.getpid()), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    (tmp_path / "home").mkdir()
    (tmp_path / "estate").mkdir()
    folder = estate(tmp_path / "estate")
    (archive,) = plain.glob("nous-vm-*.tar.gz")
    for command in (["ansible-galaxy", "collection", "install", str(archive)], ["molecule", "test", "-s", "nous"]):
        done = subprocess.run(command, cwd=folder, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert done.returncode == 0, done.stdout[-6000:]
    assert "changed=0 " in done.stdout
