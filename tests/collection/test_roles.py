"""What every role of the collection has to keep, read from its files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

COLLECTION = Path(__file__).parents[2] / "collections/ansible_collections/nous/vm"
ROLES = sorted(path for path in (COLLECTION / "roles").iterdir())


def load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] | None = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found or {}


def test_the_roles_are_there() -> None:
    assert [role.name for role in ROLES] == [
        "audit_logrotate",
        "backup",
        "caddy_gateway",
        "egress_proxy",
        "host_watch",
        "nous_service",
        "oauth_key",
        "python_runtime",
    ]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
class TestRole:
    def test_spec_and_defaults_say_the_same(self, role: Path) -> None:
        options = load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
        assert {name: option["default"] for name, option in options.items() if "default" in option} == load(role / "defaults/main.yml")

    def test_what_has_no_default_is_required(self, role: Path) -> None:
        options = load(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
        assert [name for name, option in options.items() if "default" not in option and not option.get("required")] == []

    def test_preflight_takes_what_the_role_takes(self, role: Path) -> None:
        specs = load(role / "meta/argument_specs.yml")["argument_specs"]
        assert specs["preflight"] == specs["main"]

    def test_every_variable_carries_the_role_s_name(self, role: Path) -> None:
        names = [*load(role / "defaults/main.yml"), *load(role / "vars/main.yml")]
        assert [name for name in names if not f"{name}_".startswith((f"{role.name}_", f"__{role.name}_"))] == []

    def test_no_role_knows_another(self, role: Path) -> None:
        others = [other.name for other in ROLES if other != role]
        text = "\n".join(path.read_text(encoding="utf-8") for path in role.glob("tasks/**/*.yml"))
        assert [other for other in others if re.search(rf"\b{other}(_|\b)", text)] == []


@pytest.mark.parametrize(("release", "word"), [("noble", "yes"), ("trixie", "strict")])
def test_units_have_what_the_host_s_systemd_knows(release: str, word: str, tmp_path: Path) -> None:
    """The verification of systemd 255 (Ubuntu 24.04) takes a word that came later for a mistake, and no changed unit would be written."""
    role = COLLECTION / "roles/nous_service"
    defaults = load(role / "defaults/main.yml")
    values = {**defaults, "host": {"platform": {"release": release}}}
    given = {**defaults, **load(role / "vars/main.yml"), "__nous_service_values": values}
    path = tmp_path / "given.yml"
    path.write_text(yaml.safe_dump(given), encoding="utf-8")
    message = "msg={{ __nous_service_sandboxes['proxy'] | nous.vm.sandbox }}"
    run = ["ansible", "localhost", "-c", "local", "-e", f"@{path}", "-m", "ansible.builtin.debug", "-a", message]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    found = set(map(str.strip, done.stdout.replace("\\n", "\n").splitlines()))
    assert {f"ProtectControlGroups={word}", "SocketBindAllow=ipv4:udp:1", "SocketBindDeny=any"} <= found, done.stdout + done.stderr


@pytest.mark.parametrize("template", sorted((COLLECTION / "roles").glob("*/templates/*.service.j2")), ids=lambda path: path.name)
def test_no_unit_is_denied_its_start_for_how_often_it_was_started(template: Path) -> None:
    """systemd's default is five times in ten seconds; after that a stop of the server was not followed by its flush."""
    assert "StartLimitIntervalSec=0\n" in template.read_text(encoding="utf-8").split("[Service]")[0]


def test_readmes_are_made_from_the_specs() -> None:
    done = subprocess.run([sys.executable, Path(__file__).with_name("readme.py"), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
