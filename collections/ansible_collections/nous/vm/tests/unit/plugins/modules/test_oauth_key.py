# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module oauth_key as ansible runs it: arguments in, one JSON document out."""

from __future__ import annotations

import hashlib
import json
import os
import re
import runpy
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.nous.vm.plugins.module_utils._oauth_key import ensure_key, read_pem
from ansible_collections.nous.vm.plugins.modules import oauth_key

ADDED_BY_ANSIBLE = {"gid", "group", "mode", "owner", "secontext", "size", "state", "uid"}  # to whatever returns a path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Run the module; return its exit code and what it printed, both parsed and as it is."""

    def _run(main: Callable[[], None] = oauth_key.main, **arguments: Any) -> tuple[int, dict[str, Any], str]:
        me = {"path": str(tmp_path / "keys/signing.pem"), "owner": str(os.geteuid()), "group": str(os.getegid())}
        with patch_module_args(me | arguments), pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return end.value.code or 0, json.loads(printed.out), printed.out + printed.err

    return _run


def test_made_once(run, tmp_path: Path) -> None:
    rc, first, _text = run()
    path = tmp_path / "keys/signing.pem"
    key = read_pem(path.read_bytes(), "EdDSA")
    assert rc == 0
    assert (first["changed"], first["actions"]) == (True, ["create_directory", "create_key"])
    assert (first["path"], first["alg"], first["kid"], first["fingerprint"]) == (
        str(path), "EdDSA", key.kid, key.fingerprint,
    )  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first["created"])
    assert first["age_days"] == 0

    rc, second, _text = run()
    assert (rc, second["changed"], second["actions"]) == (0, False, [])
    assert second["diff"]["before"] == second["diff"]["after"]
    assert {name: second[name] for name in ("kid", "created")} == {name: first[name] for name in ("kid", "created")}


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256", "RS256"])
@pytest.mark.parametrize("check_mode", [True, False])
def test_it_returns_what_it_documents(run, algorithm: str, check_mode: bool) -> None:
    _rc, result, _text = run(algorithm=algorithm, size=2048, _ansible_check_mode=check_mode)
    documented = yaml.safe_load(oauth_key.RETURN)
    assert set(result) - {"changed", "diff", "invocation"} - ADDED_BY_ANSIBLE == set(documented)
    assert result["alg"] == algorithm
    types = {"str": str, "int": int, "list": list}
    for name, entry in documented.items():
        assert isinstance(result[name], types[entry["type"]]) or (check_mode and result[name] is None)


def test_it_takes_what_it_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    class Taken(Exception):
        pass

    def module(argument_spec: dict[str, Any], supports_check_mode: bool) -> None:
        assert supports_check_mode
        raise Taken(argument_spec)

    monkeypatch.setattr(oauth_key, "AnsibleModule", module)
    with pytest.raises(Taken) as taken:
        oauth_key.main()
    documented = yaml.safe_load(oauth_key.DOCUMENTATION)["options"]
    for option in documented.values():
        del option["description"]
        if "choices" in option:
            option["choices"] = list(option["choices"])
    assert taken.value.args[0] == documented


def test_documented_fingerprint_is_of_the_documented_key() -> None:
    """The samples are those of RFC 8037, appendix A."""
    prefix = bytes.fromhex("302a300506032b6570032100")  # SubjectPublicKeyInfo of Ed25519, RFC 8410
    raw = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    assert yaml.safe_load(oauth_key.RETURN)["fingerprint"]["sample"] == hashlib.sha256(prefix + raw).hexdigest()


def test_default_mode(run, tmp_path: Path) -> None:
    run()
    assert stat.S_IMODE((tmp_path / "keys/signing.pem").stat().st_mode) == 0o600


def test_check_mode(run, tmp_path: Path) -> None:
    rc, result, _text = run(_ansible_check_mode=True)
    assert (rc, result["changed"], result["kid"], result["alg"]) == (0, True, None, "EdDSA")
    assert result["diff"]["before"]["key"] == "absent"
    assert result["diff"]["after"]["key"]["mode"] == "0600"
    assert list(tmp_path.iterdir()) == []


def test_nothing_private_is_printed(run, tmp_path: Path) -> None:
    """In any run, at the highest verbosity, whether it succeeds or fails."""
    path = tmp_path / "keys/signing.pem"
    printed = [run(_ansible_verbosity=5, _ansible_diff=True)[2]]
    secret = "".join(path.read_text(encoding="ascii").splitlines()[1:-1])
    path.chmod(0o644)
    printed.append(run(_ansible_verbosity=5, _ansible_diff=True)[2])
    printed.append(run(_ansible_verbosity=5, _ansible_diff=True, algorithm="RS256")[2])
    path.write_text(path.read_text(encoding="ascii").replace("MC4CAQ", "MC4CAR"), encoding="ascii")
    printed.append(run(_ansible_verbosity=5, _ansible_diff=True)[2])
    assert ["failed" in text for text in printed] == [False, False, True, True]
    for text in printed:
        assert "BEGIN" not in text
        assert [at for at in range(24, len(secret) - 8) if secret[at : at + 8] in text] == []


def test_refused(run, tmp_path: Path) -> None:
    run()
    rc, result, _text = run(algorithm="ES256")
    assert (rc, result["failed"]) == (1, True)
    assert result["msg"] == (
        f"{tmp_path}/keys/signing.pem holds a key for EdDSA, but ES256 was asked for; "
        "ask for what is there, or move the key away to have a new one made."
    )


@pytest.mark.parametrize("mode", ["0644", "0660", "0700", "600", 0o600])
def test_modes_that_are_no_option(run, mode: str | int, tmp_path: Path) -> None:
    rc, result, _text = run(mode=mode)
    assert rc == 1
    assert result["msg"].startswith("value of mode must be one of: 0400, 0440, 0600, 0640, got: ")
    assert list(tmp_path.iterdir()) == []


def test_warning(run, tmp_path: Path) -> None:
    run()
    (tmp_path / "keys/signing.pem").chmod(0o604)
    _rc, result, text = run()
    assert result["actions"] == ["set_permissions"]
    assert "think of a new key" in text


def test_without_the_library(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a bare host: the import itself fails."""
    for name in [each for each in sys.modules if each.split(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, ensure_key.__module__)

    def bare() -> None:
        runpy.run_path(oauth_key.__file__, run_name="__main__")

    rc, result, _text = run(bare)
    assert rc == 1
    assert result["msg"].startswith("Failed to import the required Python library (cryptography)")
    assert list(tmp_path.iterdir()) == []
    rc, result, _text = run(bare, _ansible_check_mode=True)
    assert (rc, result["changed"], result["actions"]) == (0, True, ["create_directory", "create_key"])
