"""What a source can do to the host that builds it: a build back end that attacks, in the real unit. Each succeeds, or harms, where its defence is not."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import hostile
import pytest
from builds import PROJECT, RELEASE, ROOT, SENT, SOURCE, Builder, config, pack
from host import Host

SPACE = 64  # MiB, of config()
OWN = re.sub("requires = .*\n.*", 'requires = []\nbuild-backend = "hostile"\nbackend-path = ["."]', PROJECT.replace('dependencies = ["dep"]\n', ""))
# The limits of a unit, made short on the host that is attacked.
SHORT = """
import json, sys
sys.path.insert(0, "/usr/local/lib/nous-vm")
from nous_vm.build import builder, unit
from nous_vm.build.configuration import load
unit.BUILD = 4
print(json.dumps(builder.build_here(load("-"))))
"""


@pytest.fixture(scope="module")
def attacked(host: Host) -> Builder:
    made = Builder(host, index=False)
    made.put("/root/.netrc", b"")
    return made


def source(attack: str) -> bytes:
    program = Path(hostile.__file__).read_text(encoding="utf-8").replace('ATTACK = "nothing"', f'ATTACK = "{attack}"')
    return pack(SOURCE | {"pyproject.toml": OWN.encode(), "hostile.py": program.encode()})


def attack(builder: Builder, name: str) -> dict[str, Any]:
    """Build a source that attacks; return what the command printed."""
    builder.sh(f"rm -rf {ROOT} {Path(SENT).parent}")
    found: dict[str, Any] = json.loads(builder.call(config(**builder.send(source(name)))).stdout)
    return found


def told(document: dict[str, Any]) -> dict[str, Any]:
    """Return what an attack told by its error."""
    found = re.search(r"RuntimeError: (\{.*?\})", document["reason"])
    assert found, document
    told: dict[str, Any] = json.loads(found[1])
    return told


def test_a_build_reaches_nothing_of_the_host(attacked: Builder) -> None:
    """Signals, keys, others' releases, the store, the network, systemd. As root on the host, without the unit, the same succeeds, so it can."""
    attacked.sh("systemd-run --quiet --collect --unit=index python3 -m http.server --bind 127.0.0.1 --directory /srv 8000; mkdir -p /fetched/files")
    try:
        attacked.sh("timeout 30 bash -c 'until : < /dev/tcp/127.0.0.1/8000; do sleep 0.1; done' 2> /dev/null")
        inside = told(attack(attacked, "probe"))
        attacked.sh(f"mkdir -p {ROOT}/releases")
        outside = json.loads(attacked.sh("python3 -", stdin=Path(hostile.__file__).read_bytes()))
    finally:
        attacked.sh("systemctl stop index; rm -rf /fetched /var/cache/nous-vm/store/poison /usr/local/lib/nous-vm/poison")
    assert (inside["done"], inside["tried"]) == ([], 16)
    assert len(outside["done"]) == 16, outside


def test_a_fork_bomb_has_an_end(attacked: Builder) -> None:
    assert 100 < told(attack(attacked, "fork"))["children"] <= 512


def test_what_a_build_fills_is_bounded_and_its_own(attacked: Builder) -> None:
    free = int(attacked.sh("stat --file-system --format=%f:%S / | awk -F: '{print int($1 * $2 / 2^20)}'"))
    found = told(attack(attacked, "fill"))
    assert 20 < found.pop("own") <= SPACE
    assert found.pop("/dev/shm") <= 64
    assert set(found.values()) == {0}, found
    assert abs(int(attacked.sh("stat --file-system --format=%f:%S / | awk -F: '{print int($1 * $2 / 2^20)}'")) - free) < 1024
    assert attacked.sh("find /tmp /var/tmp /dev/shm -name 'filled-*'") == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("forge", "PermissionError: .*/fd/1"),
        ("litter", "fifo is not a regular file"),
        ("away", "away is a link to /etc/shadow, which is outside"),
        ("sparse", "larger than there is room for|No space left"),
    ],
)
def test_root_takes_nothing_but_files(attacked: Builder, name: str, words: str) -> None:
    """A forged answer, a FIFO, a link to a secret, and many names of one sparse file."""
    document = attack(attacked, name)
    assert document["reason"] and re.search(words, document["reason"]), document
    assert attacked.releases() == [] and attacked.sh(f"ls -A {ROOT}/building") == ""


def test_nothing_is_left_running(attacked: Builder) -> None:
    assert attack(attacked, "linger")["changed"]
    assert attacked.sh("pgrep --full '[h]ostile' || true") == ""
    assert attacked.sh("systemctl is-active nous-build.service || true") == "inactive"
    assert attacked.releases() == [RELEASE]


def test_a_build_without_an_end_has_one(attacked: Builder) -> None:
    """Of systemd, which kills it though it ignores that it is told to end."""
    attacked.sh(f"rm -rf {ROOT}")
    given = config(**attacked.send(source("never")))
    attacked.put("/srv/short.py", SHORT.encode())
    since, begun = attacked.sh("date +%s"), time.monotonic()
    found = json.loads(attacked.sh("python3 -I /srv/short.py", stdin=json.dumps(given).encode()))
    print(f"ended after {time.monotonic() - begun:.1f} s")
    assert "cannot be taken" in found["reason"], found
    assert "reached runtime time limit" in attacked.sh(f"journalctl --quiet --output=cat --unit=nous-build --since=@{since}")
    assert attacked.releases() == []
