"""Installing the collection from git gives a collection that works, whichever of the two galaxy.yml is met first."""

from __future__ import annotations

from pathlib import Path

import pytest
from clone import clone as made
from clone import run

REPOSITORY = Path(__file__).parents[2]
COLLECTION = REPOSITORY / "collections/ansible_collections/nous/vm"
ROLES = {"audit_logrotate", "backup", "caddy_gateway", "egress_proxy", "host_watch", "nous_service", "oauth_key", "python_runtime"}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("clone"))


@pytest.mark.parametrize("path", ["", "#/collections/ansible_collections/nous/vm/"], ids=["root", "nested"])
def test_install_from_git(clone: Path, tmp_path: Path, path: str) -> None:
    config = tmp_path / "ansible.cfg"
    config.touch()
    quiet = {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path), "ANSIBLE_CONFIG": str(config), "ANSIBLE_HOME": str(tmp_path / "home")}
    run("ansible-galaxy", "collection", "install", f"git+file://{clone}{path}", "-p", tmp_path, cwd=tmp_path, **quiet)
    installed = tmp_path / "ansible_collections/nous/vm"
    assert {role.name for role in (installed / "roles").iterdir()} == ROLES
    assert {playbook.name for playbook in (installed / "playbooks").iterdir()} == {playbook.name for playbook in (COLLECTION / "playbooks").iterdir()}
    # The root brings the collection proper, which its links lead to; of what else is the repository's, nothing.
    assert {each.name for each in installed.iterdir()} <= {each.name for each in COLLECTION.iterdir()} | {"FILES.json", "MANIFEST.json", "collections"}
    assert (installed / "plugins/modules/files.py").is_file()
    for playbook in ("site", "verify", "rotate_key", "cloud_init"):
        run("ansible-playbook", "--syntax-check", f"nous.vm.{playbook}", "-i", "localhost,", cwd=tmp_path, **quiet)
    assert "nous.vm.oauth_key" in run("ansible-doc", "--list", "nous.vm", cwd=tmp_path, **quiet)


@pytest.mark.parametrize("playbook", sorted(path.name for path in (REPOSITORY / "playbooks").glob("*.yml")))
@pytest.mark.parametrize("inventory", ["example", "local"])
def test_the_playbooks_at_hand_and_their_inventories(playbook: str, inventory: str) -> None:
    run("ansible-playbook", "--syntax-check", f"playbooks/{playbook}", "-i", f"inventories/{inventory}", cwd=REPOSITORY)
