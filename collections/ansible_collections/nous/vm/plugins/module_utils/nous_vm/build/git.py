# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A source in a git repository."""

from __future__ import annotations

from pathlib import Path

from .configuration import Configuration
from .tools import BuildError, Tools, causes

# What git says where it cannot fetch one commit alone: it is abbreviated, or the server gives whole histories only.
NOT_ALONE = (b"remote ref", b"not our ref", b"unadvertised object", b"shallow")


def fetch(tools: Tools, tree: Path, url: str, ref: str) -> str:
    """Fetch a source and return its commit."""
    git = ["git", "-C", str(tree), "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "advice.detachedHead=false"]
    tools.run("git", "init", "--quiet", tree)
    alone = tools.ask(*git, "fetch", "--quiet", "--depth=1", "--", url, ref)
    commit = tools.ask(*git, "rev-parse", "--verify", "--quiet", "FETCH_HEAD^{commit}").text.strip()
    if alone.returncode != 0 and any(words in alone.stderr for words in NOT_ALONE):
        tools.run(*git, "fetch", "--quiet", "--tags", "--", url, "+refs/heads/*:refs/remotes/origin/*")
        found = [tools.ask(*git, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").text.strip() for name in (ref, f"origin/{ref}")]
        commit = next(filter(None, found), "")
    if not commit:
        raise BuildError(causes(alone))
    tools.run(*git, "checkout", "--quiet", "--detach", commit)
    if (tree / ".gitmodules").exists():
        tools.run(*git, "submodule", "--quiet", "update", "--init", "--recursive")
    return commit


def newest_commit(configuration: Configuration) -> str:
    """Return the newest commit of the branch; raise BuildError if nobody can tell."""
    source = configuration.source
    if source["kind"] != "git":
        raise BuildError("the source is no git repository")
    found = Tools(configuration).ask("git", "ls-remote", "--exit-code", "--", source["url"], f"refs/heads/{source['ref']}")
    if found.returncode != 0:
        raise BuildError(causes(found) if found.stderr else "there is no such branch")
    return found.text.split()[0]
