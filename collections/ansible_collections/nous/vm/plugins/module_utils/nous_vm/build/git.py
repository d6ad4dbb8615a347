# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A source in a git repository, fetched by an account that owns nothing; nothing of the source is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..foreign import printable
from .tools import BuildError, Tools, causes

# What git says where it cannot fetch one commit alone: it is abbreviated, or the server gives whole histories only.
NOT_ALONE = (b"remote ref", b"not our ref", b"unadvertised object", b"shallow")


def fetch(tools: Tools, tree: Path, source: dict[str, Any]) -> tuple[str, str | None]:
    """Fetch a source; return its commit, and who signed it, if signers are known."""
    url, ref = source["url"], source["ref"]
    git = ["git", "-C", str(tree), "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "advice.detachedHead=false"]
    tools.run("git", "init", "--quiet", tree)
    alone = tools.ask(*git, "fetch", "--quiet", "--depth=1", "--", url, ref)
    fetched = _commit(tools, git, "FETCH_HEAD")
    tag = _commit(tools, git, "FETCH_HEAD", "tag")
    if alone.returncode != 0 and any(words in alone.stderr for words in NOT_ALONE):
        tools.run(*git, "fetch", "--quiet", "--tags", "--", url, "+refs/heads/*:refs/remotes/origin/*")
        fetched = next(filter(None, (_commit(tools, git, name) for name in (ref, f"origin/{ref}"))), "")
        tag = _commit(tools, git, f"refs/tags/{ref}", "tag")
    if not fetched:
        raise BuildError(causes(alone))
    signer = verify(tools, git, fetched, tag, source["signers"]) if source["signers"] else None
    tools.run(*git, "checkout", "--quiet", "--detach", fetched)
    if (tree / ".gitmodules").exists():
        tools.run(*git, "submodule", "--quiet", "update", "--init", "--recursive")
    return fetched, signer


def _commit(tools: Tools, git: list[str], name: str, kind: str = "commit") -> str:
    return tools.ask(*git, "rev-parse", "--verify", "--quiet", f"{name}^{{{kind}}}").text.strip()


def verify(tools: Tools, git: list[str], commit: str, tag: str, signers: list[str]) -> str:
    """Return who signed a commit, or the tag that names it; raise BuildError if none of the signers did."""
    allowed = Path(tools.environment["HOME"], "allowed_signers")
    allowed.write_text("".join(f"{line}\n" for line in signers), encoding="utf-8")
    how = [*git, "-c", "gpg.format=ssh", "-c", f"gpg.ssh.allowedSignersFile={allowed}"]
    why = []
    for kind, name in (("commit", commit), ("tag", tag)):
        if name:
            done = tools.ask(*how, f"verify-{kind}", name)
            text = (done.stderr + done.stdout).decode("utf-8", "replace")
            if done.returncode == 0 and 'Good "git" signature for ' in text:
                return text.partition('Good "git" signature for ')[2].partition(" with ")[0]
            why.append(f"the {kind} {name[:12]} {_unsigned(text)}")
    raise BuildError(f"error: none of nous_service_git_signers signed it: {' and '.join(why)}")


def _unsigned(text: str) -> str:
    """Return what is wrong with a signature by what git printed about it: nothing, if there is none."""
    if "No principal matched" in text or "Could not verify signature" in text:
        return "has the signature of another"
    if not text.strip() or "no signature" in text:
        return "has no signature"
    return f"has a signature that cannot be verified ({printable(text)})"


def newest_commit(tools: Tools, source: dict[str, Any]) -> str:
    """Return the newest commit of the branch; raise BuildError if nobody can tell."""
    found = tools.ask("git", "ls-remote", "--exit-code", "--", source["url"], f"refs/heads/{source['ref']}")
    if found.returncode != 0:
        raise BuildError(causes(found) if found.stderr else "there is no such branch")
    return found.text.split()[0]
