# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The build, step by step, as root sees it: what is to be fetched, what is to be built from it, and what is written down of it.

Root runs nothing of the source and reads nothing where a build can write.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

from .. import times
from ..atomic import write_json
from ..errors import NousVmError
from ..foreign import printable
from ..locks import held
from ..programs import run
from . import extra, pylock, sbom
from .configuration import CACHE, Configuration
from .release import COMPLETE, SBOM, clear, complete, damage, failure, minor, put_in_place, record
from .store import Store
from .stream import Tree, digest
from .tools import BuildError, causes
from .unit import COMMIT, LOCK, NICE, WAIT, StepError, Units

VERSION = "import platform; print(platform.python_version())"
ROUNDS = 4  # of finding out what builds themselves need
FITS = "fits"


class Builder:
    """A release to be, and the step that is being taken."""

    def __init__(self, configuration: Configuration, units: Units, store: Store) -> None:
        self.configuration, self.units, self.store, self.source = configuration, units, store, configuration.source
        self.folder, self.work = configuration.releases / configuration.release, units.work
        self.made = configuration.building / configuration.release
        self.step = ""

    def run(self, again: bool = False) -> dict[str, Any]:
        """Build the release, if it is not built; leave nothing of it if it cannot be built. Return the document that the command prints."""
        result: dict[str, Any] = {"changed": False, "release": self.configuration.release, "reason": None, "step": None}
        try:
            if not again and (known := failure(self.folder)):
                return result | {"reason": f"{self.folder.name} is not built: {known}", "step": "Look for a failure that is known"}
            self.step = "Query the interpreter for its version"
            python = self.version()
            if not again and self.is_built(python):
                return result
            warning = self.make(python)
        except (NousVmError, OSError) as error:
            why = error if isinstance(error, NousVmError) else f"error: {error}"
            step = error.step if isinstance(error, StepError) else self.step
            return result | {"reason": f'{self.source["description"]} gave no release: "{step}" failed with {why}', "step": step}
        finally:
            for left in (self.work, self.made):
                # What cannot be removed must not hide why the build failed; the next build finds it.
                shutil.rmtree(left, ignore_errors=True)
            if self.configuration.archive:
                self.configuration.archive.unlink(missing_ok=True)
        return result | {"changed": True} | ({"warning": warning} if warning else {})

    def version(self) -> str:
        """Return the version of the interpreter to build for."""
        done = run([self.configuration.python, "-I", "-c", VERSION], timeout=60)
        if done.returncode:
            raise BuildError(causes(done))
        return done.text.strip()

    def is_built(self, python: str) -> bool:
        """Tell whether the release is built, undamaged, and its interpreter still the one that it was built for."""
        known = minor(str(record(self.folder).get("python")))
        return known == minor(python) and os.access(self.folder / "venv/bin/python", os.X_OK) and damage(self.folder) is None

    def make(self, python: str) -> str | None:
        """Build the release; return a warning, if there is one."""
        self.step = "Make room for it"
        clear(self.configuration.releases, self.configuration.building)
        # It is there if a build was killed; what cannot be removed fails where it is made.
        shutil.rmtree(self.work, ignore_errors=True)
        for place in (self.work, self.work / "fetched", self.made):
            place.mkdir(mode=0o755, parents=True)
        self.step = "Fetch the source"
        request = {"do": "source", "version": minor(python), "constraints": self.source["constraints"], "source": self.source | self.archive()}
        request |= {"resolved": self.store.keys()}
        found, source = self.units.fetch(request, self.work / "fetched")
        packages = pylock.received(found["packages"])
        commit = found.get("commit")
        if commit is not None and not COMMIT.fullmatch(str(commit)):
            raise BuildError(f"error: {printable(str(commit))} is no commit")
        more = self.besides(packages, minor(python))
        key = str(found["builds"])
        if needed := pylock.received(found["needed"]):
            self.store.remember(key, needed)
        needed, lock, tree = self.build(packages, more, key, minor(python))
        locked = bool(found["locked"])
        warning = self.judge(lock) if locked else None
        self.step = "Write down that the release is complete"
        about = {
            "source": self.source["description"],
            "commit": commit,
            "signer": found.get("signer") and printable(str(found["signer"])),
            "python": python,
            "locked": locked,
            "lock": lock,
        }
        made_of = {name: self.source[name] for name in ("kind", "url", "ref", "sha256", "requirement", "constraints") if self.source.get(name)}
        made_of |= {"extra_requirements": self.configuration.extra_requirements} if self.configuration.extra_requirements else {}
        files = {"packages": pylock.told(packages), "extra_packages": pylock.told(more), "build_packages": pylock.told(needed)}
        about |= {"made_of": made_of | {"source_tree": source.digest}, "built_at": times.iso(), **files}
        write_json(self.made / SBOM, sbom.document(self.made.name, about, [*packages, *more], needed, sbom.installed(self.made / "venv")), 0o644)
        complete(self.made, about, tree)
        put_in_place(self.made, self.folder)
        self.prune()
        return warning

    def archive(self) -> dict[str, str]:
        """Lend the fetch unit a copy of the archive that was sent, if it is the one that was meant; return its name."""
        path = self.configuration.archive
        if path is None:
            return {}
        self.step = "Read the archive"
        (self.work / "archive").mkdir(mode=0o755)
        copy = self.work / "archive" / path.name
        shutil.copyfile(path, copy)
        if digest(copy) != self.source["sha256"]:
            raise BuildError(f"error: {path} is not the one that was meant: its sha256 is another")
        copy.chmod(0o644)
        return {"name": path.name}

    def besides(self, packages: list[pylock.Package], python: str) -> list[pylock.Package]:
        """Return what the extra requirements bring besides the packages of the release."""
        if not (given := self.configuration.extra_requirements):
            return []
        self.step = "Resolve the extra requirements"
        request = {"do": "extra", "version": python, "requirements": given}
        found = pylock.received(self.units.fetch(request, self.work / "none").result["packages"])
        return extra.besides(found, given, packages)

    def build(self, packages: list[pylock.Package], more: list[pylock.Package], key: str, python: str) -> tuple[list[pylock.Package], str, Tree]:
        """Build the release, with what its builds need; return that, what is known of the lock, and what came."""
        needed = pylock.received(self.store.resolved(key))
        source = (self.work / "fetched/source").is_dir()
        wheel = self.configuration.archive.name if self.configuration.archive and self.configuration.archive.suffix == ".whl" else ""
        for _round in range(ROUNDS):
            self.provide([*packages, *more, *needed], python)
            if wheel:
                (self.work / "files" / wheel).hardlink_to(self.work / "archive" / wheel)
            self.step = "Build the release"
            request = {"packages": pylock.told(packages), "extra": self.configuration.extra_requirements, "wheel": wheel, "source": source}
            found, tree = self.units.build(request, self.made)
            if "needs" not in found:
                return needed, printable(str(found["lock"])), tree
            self.step = "Resolve what the build itself needs"
            request = {"do": "resolve", "version": python, "requirements": found["needs"]}
            resolved = pylock.received(self.units.fetch(request, self.work / "none").result["packages"])
            needed = list(dict.fromkeys([*needed, *resolved]))
            self.store.remember(key, needed)
        raise BuildError(f"error: the build needs something else in each of {ROUNDS} rounds")

    def provide(self, packages: list[pylock.Package], python: str) -> None:
        """Have the files of packages in the store, and show them to the build."""
        self.step = "Download what it needs"
        if missing := self.store.missing(packages):
            got = self.work / "got"
            # It is not there the first time; what cannot be removed fails where it is made.
            shutil.rmtree(got, ignore_errors=True)
            got.mkdir()
            self.units.fetch({"do": "files", "version": python, "packages": pylock.told(missing)}, got)
            self.store.take(got)
            if lost := self.store.missing(packages):
                raise BuildError(f"error: {lost[0].file} did not come")
        self.store.show(packages, self.work / "files")

    def judge(self, lock: str) -> str | None:
        """Return a warning about a lock that does not fit; raise BuildError if that is what nous_service_lock asks for."""
        self.step = "Compare the lock with the source"
        if lock == FITS:
            return None
        what = {"stale": "uv.lock does not fit pyproject.toml: it was not made anew after a change (uv lock)"}.get(lock)
        text = what or f"nobody can tell whether uv.lock fits pyproject.toml: {lock}"
        if self.configuration.lock == "fail":
            raise BuildError(f"error: {text}; nous_service_lock is fail")
        return text

    def prune(self) -> None:
        """Remove from the store what no release that is left was made of."""
        records = [record(path.parent) for path in self.configuration.releases.glob(f"*/{COMPLETE}")]
        wanted = {str(entry.get("sha256")) for known in records for kind in ("packages", "extra_packages", "build_packages") for entry in known.get(kind, [])}
        self.store.prune(wanted)


def build_here(configuration: Configuration, again: bool = False) -> dict[str, Any]:
    """Build the release in this process; another build is waited for."""
    os.umask(0o022)
    with contextlib.suppress(PermissionError):
        os.nice(NICE)
    for folder in (configuration.releases, configuration.building):
        folder.mkdir(parents=True, exist_ok=True)
    with held(LOCK, f"build {configuration.release}", wait=WAIT):
        return Builder(configuration, Units(configuration, Path(CACHE, "building")), Store()).run(again)
