# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation site: built without a warning, complete, and no link in it leads to nothing."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import build
import pytest
import yaml
from controller import REPOSITORY

COLLECTION = REPOSITORY / build.COLLECTION
LOADING = {"script": "src", "img": "src", "link": "href", "iframe": "src"}  # of these, the address is asked by itself


class Page(HTMLParser):
    """The links, names and loaded addresses of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.names: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.names |= {name for name in (given.get("id"), given.get("name")) if name}
        if tag == "a" and (link := given.get("href")):
            self.links.append(link)
        if tag in LOADING and (address := given.get(LOADING[tag])) and given.get("rel") != "canonical":
            self.loads.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("site") / "html"
    done = subprocess.run([sys.executable, REPOSITORY / "docs/site/build.py", "--to", to], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return to


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def test_every_guide_is_there(site: Path) -> None:
    assert [name for name in build.GUIDES if not (site / f"{name}.html").is_file()] == []


def test_every_role_module_and_plugin_has_its_page(site: Path) -> None:
    folders = {"modules": "module", "filter": "filter", "callback": "callback", "lookup": "lookup"}
    expected = [f"{path.stem}_{kind}" for folder, kind in folders.items() for path in (COLLECTION / "plugins" / folder).glob("*.py")]
    expected += [f"{name}_role" for name in build.ROLES]
    assert len(expected) > 20
    assert [name for name in expected if not (site / f"reference/{name}.html").is_file()] == []


def test_every_variable_of_a_role_is_on_its_page(site: Path) -> None:
    for role in build.ROLES:
        options = yaml.safe_load((COLLECTION / f"roles/{role}/meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
        text = (site / f"reference/{role}_role.html").read_text(encoding="utf-8")
        assert [name for name in options if name not in text] == []


def test_no_link_within_the_site_leads_to_nothing(site: Path, pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = pages.get(target)
            nowhere = there is None and not target.exists()
            if nowhere or (there and parts.fragment and unquote(parts.fragment) not in there.names):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(pages: dict[Path, Page]) -> None:
    assert [address for page in pages.values() for address in page.loads if urlsplit(address).netloc] == []


def test_a_link_to_nothing_is_found() -> None:
    faults: list[str] = []
    build.linked("[a](nowhere.md) `[b](nowhere.md)` [c](faq.md#x)", "docs/index.md", build.pages(), faults)
    assert faults == ["docs/index.md: nowhere.md leads to nothing"]
    assert build.linked("[d](../Makefile)", "docs/index.md", build.pages(), faults) == f"[d]({build.repository()}/blob/main/Makefile)"


def test_the_documentation_of_plugins_is_valid(site: Path) -> None:
    """By antsibull-docs, of the environment that the site was built in."""
    command = [str(build.CACHE / "venv/bin/antsibull-docs"), "lint-collection-docs", "--plugin-docs", "--skip-rstcheck", "--validate-collection-refs", "all"]
    own = {"PATH": f"{build.CACHE}/venv/bin:/usr/bin:/bin", "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / "collections"), "LC_ALL": "C.UTF-8"}
    done = subprocess.run([*command, str(COLLECTION)], env=own, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert site.is_dir()
