#!/usr/bin/env python3
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the documentation site: build.py [--to DIR], from the pages of this repository and the specifications of roles, modules and plugins.

A link between pages stays one; a link to another file of the repository leads to that file where the repository is; a link to nothing is an error, as every
warning of Sphinx and antsibull-docs is. Addresses elsewhere are not asked.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache/docs"
COLLECTION = "collections/ansible_collections/nous/vm"
FIRST = ["nous_service", "caddy_gateway", "audit_logrotate"]  # roles, in the order in which people ask for them
ROLES = FIRST + sorted(path.name for path in (ROOT / COLLECTION / "roles").iterdir() if path.name not in FIRST)
GUIDES = ["quick_start", "connect", "operate", "new_vm", "upgrade", "adopt", "backup", "scale", "uninstall", "install", "ci", "security", "architecture", "faq"]
LINK = re.compile(r"(\]\()([^)\s#]+)?(#[^)\s]*)?(\))")


def pages() -> dict[str, str]:
    """Return where each page of the repository is in the site, by its path."""
    found = {f"docs/{path.name}": path.name for path in (ROOT / "docs").glob("*.md")}
    found |= {f"docs/decisions/{path.name}": f"decisions/{path.name}" for path in sorted((ROOT / "docs/decisions").glob("*.md"))}
    found |= {f"{COLLECTION}/docs/new_vm.md": "new_vm.md", "CONTRIBUTING.md": "contributing.md", "SECURITY.md": "report_a_vulnerability.md"}
    for role in ROLES:
        for path in (ROOT / COLLECTION / "roles" / role).glob("*.md"):
            if path.name != "docs.md":  # its text is in the README
                found[f"{COLLECTION}/roles/{role}/{path.name}"] = f"roles/{role}/{path.name.lower()}"
    return found


def repository() -> str:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["urls"]["Repository"])


def linked(text: str, source: str, site: dict[str, str], faults: list[str]) -> str:
    """Return a page with links as they are in the site. source: its path in the repository."""

    def replaced(found: re.Match[str]) -> str:
        before, target, anchor, after = found.groups(default="")
        if not target or re.match("[a-z]+:", target):
            return found[0]
        path = os.path.normpath(os.path.join(os.path.dirname(source), target))
        if path in site:
            target = os.path.relpath(site[path], os.path.dirname(site[source]))
        elif path.startswith("..") or not (ROOT / path).exists():
            faults.append(f"{source}: {target} leads to nothing")
        elif path.endswith(".svg"):
            (CACHE / "source" / os.path.dirname(site[source])).mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, CACHE / "source" / os.path.dirname(site[source]) / os.path.basename(path))
            target = os.path.basename(path)
        else:
            target = f"{repository()}/{'tree' if (ROOT / path).is_dir() else 'blob'}/main/{path}"
        return f"{before}{target}{anchor}{after}"

    # What is code is text.
    parts = re.split(r"(^```.*?^```|`[^`\n]+`)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("`") else LINK.sub(replaced, part) for part in parts)


def collect(source: Path) -> list[str]:
    """Write all pages to a folder; return the links that lead to nothing."""
    site, faults = pages(), list[str]()
    for path, name in site.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(linked(text, path, site, faults), encoding="utf-8")
    trees = {
        "Guides": GUIDES,
        "Roles": [f"roles/{role}/readme" for role in ROLES],
        "Evidence": [name.removesuffix(".md") for name in site.values() if name.startswith("roles/") and not name.endswith("readme.md")],
        "Reference": ["reference/index"],
        "Project": ["contributing", "report_a_vulnerability", *(name.removesuffix(".md") for name in site.values() if name.startswith("decisions/"))],
    }
    with (source / "index.md").open("a", encoding="utf-8") as index:
        for caption, names in trees.items():
            existing = [name for name in names if name.startswith("reference") or (source / f"{name}.md").exists()]
            index.write("\n".join(["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *existing, "```", ""]))
    return faults


def environment(name: str = "docs", lock: Path = ROOT / "docs/site/requirements.txt") -> Path:
    """Return the folder of an environment's programs, made from a lock if it is not there or another."""
    made = ROOT / ".cache" / name / "venv"
    mark = made / "requirements.txt"
    if not mark.exists() or mark.read_bytes() != lock.read_bytes():
        uv = Path(sys.executable).with_name("uv")
        own = os.environ | {"UV_SYSTEM_CERTS": "1", "UV_PYTHON_DOWNLOADS": "never"}
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, made], env=own, check=True)
        install = ["pip", "install", "--quiet", "--require-hashes", "--python", str(made / "bin/python"), "--requirement", str(lock)]
        subprocess.run([uv, *install], env=own, check=True)
        shutil.copy2(lock, mark)
    return made / "bin"


def main() -> None:
    parser = argparse.ArgumentParser(prog="build.py", description="Build the documentation site.")
    parser.add_argument("--to", type=Path, default=CACHE / "html", help="folder of the site, by default .cache/docs/html")
    given = parser.parse_args()
    source = CACHE / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    programs = environment()
    if faults := collect(source):
        sys.exit("\n".join(faults))
    shutil.copy2(ROOT / "docs/site/conf.py", source)
    shutil.copytree(ROOT / "docs/site/_static", source / "_static")
    (source / "reference").mkdir(mode=0o755)
    own = os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"), "LC_ALL": "C.UTF-8"}
    (empty := CACHE / "ansible.cfg").touch()
    own |= {"ANSIBLE_CONFIG": str(empty)}
    reference = ["antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--fail-on-error", "--cleanup", "everything"]
    subprocess.run([*reference, "--dest-dir", source / "reference", "nous.vm"], env=own, check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(given.to, ignore_errors=True)
    sphinx = ["sphinx-build", "--quiet", "--builder", "html", "--fail-on-warning", "--keep-going", "--fresh-env", "--jobs", "2"]
    done = subprocess.run([*sphinx, source, given.to], env=own, check=False)
    if done.returncode != 0:
        sys.exit("docs: the site has faults")
    print(given.to / "index.html")


if __name__ == "__main__":
    main()
