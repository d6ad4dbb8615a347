"""The operator's side of a test: commands, and the collection's playbooks on hosts of an inventory of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 60  # seconds within which what is waited for happens, or something is broken


def wait(condition: Any, what: str, patience: float = PATIENCE) -> Any:
    """Wait until a condition is true and return what it was."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {patience} s for {what}"
        time.sleep(0.02)  # how often to ask
    return found


def sh(*argv: str | Path, check: bool = True, **options: Any) -> str:
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, stdin=subprocess.DEVNULL, **options)
    printed = str(done.stdout)
    assert not check or done.returncode == 0, f"{argv}: {printed[-6000:]}"
    return printed.strip()


def play(playbook: str, hosts: dict[str, dict[str, Any]], work: Path, *arguments: str, tree: Path = REPOSITORY) -> str:
    """Run a playbook on hosts as an operator would, whether it works or not; return what it printed, each sentence in one line. tree: another checkout."""
    path = work / "inventory.json"
    path.write_text(json.dumps({"nous": {"hosts": hosts}}), encoding="utf-8")
    own = {"ANSIBLE_CONFIG": tree / "ansible.cfg", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"}
    return sh(
        "ansible-playbook",
        tree / f"playbooks/{playbook}.yml",
        "-i",
        path,
        *arguments,
        check=False,
        cwd=work,
        env=os.environ | {name: str(value) for name, value in own.items()},
    )
