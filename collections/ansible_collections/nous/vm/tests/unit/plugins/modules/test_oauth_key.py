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
from ansible_collections.nous.vm.plugins.module_utils import _system_python
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key.jwk import read_pem
from ansible_collections.nous.vm.plugins.modules import oauth_key, oauth_key_info

Run = Callable[..., tuple[int, dict[str, Any], str]]
Info = Callable[..., dict[str, Any]]
ADDED_BY_ANSIBLE = {"gid", "group", "mode", "owner", "secontext", "size", "state", "uid"}  # to whatever returns a path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the module; return its exit code and what it printed, both parsed and as it is."""

    def _run(main: Callable[[], None] = oauth_key.main, **arguments: Any) -> tuple[int, dict[str, Any], str]:
        me = {"path": str(tmp_path / "keys/signing.pem"), "owner": str(os.geteuid()), "group": str(os.getegid())}
        with patch_module_args(me | arguments), pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return int(end.value.code or 0), json.loads(printed.out), printed.out + printed.err

    return _run


@pytest.fixture
def published(tmp_path: Path) -> dict[str, str]:
    """The options of a set that is published."""
    return {
        "jwks_path": str(tmp_path / "jwks.json"),
        "jwks_owner": str(os.geteuid()),
        "jwks_group": str(os.getegid()),
    }


@pytest.fixture
def info(capsys: pytest.CaptureFixture[str]) -> Info:
    """Run oauth_key_info; return what it printed."""

    def _info(path: Path, jwks_path: Path | None = None, **arguments: Any) -> dict[str, Any]:
        given = {"path": str(path), **arguments} | ({} if jwks_path is None else {"jwks_path": str(jwks_path)})
        with patch_module_args(given), pytest.raises(SystemExit):
            oauth_key_info.main()
        printed: dict[str, Any] = json.loads(capsys.readouterr().out)
        return printed

    return _info


def test_made_once(run: Run, tmp_path: Path) -> None:
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
def test_it_returns_what_it_documents(run: Run, published: dict[str, str], algorithm: str, check_mode: bool) -> None:
    _rc, result, _text = run(algorithm=algorithm, size=2048, _ansible_check_mode=check_mode, **published)
    documented = yaml.safe_load(oauth_key.RETURN)
    assert set(result) - {"changed", "diff", "invocation"} - ADDED_BY_ANSIBLE == set(documented)
    assert result["alg"] == algorithm
    types = {"str": str, "int": int, "list": list, "bool": bool}
    unknown = {"kid", "fingerprint", "created", "age_days"} if check_mode else set()
    for name, entry in documented.items():
        if name in unknown | {"next_kid"}:
            assert result[name] is None
        else:
            assert isinstance(result[name], types[entry["type"]])
    for key in result["published"]:
        assert set(key) == set(documented["published"]["contains"])


def test_it_takes_what_it_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    class Taken(Exception):
        pass

    def module(argument_spec: dict[str, Any], supports_check_mode: bool, required_if: list[tuple[Any, ...]]) -> None:
        assert supports_check_mode
        assert [each[:2] for each in required_if] == [("rotation", "begin"), ("rotation", "finish")]
        raise Taken(argument_spec)

    monkeypatch.setattr(oauth_key, "AnsibleModule", module)
    with pytest.raises(Taken) as taken:
        oauth_key.main()
    documented = yaml.safe_load(oauth_key.DOCUMENTATION)["options"]
    for option in documented.values():
        del option["description"]
        if "choices" in option:
            option["choices"] = [next(iter(each)) if isinstance(each, dict) else each for each in option["choices"]]
    assert taken.value.args[0] == documented


def test_documented_fingerprint_is_of_the_documented_key() -> None:
    """The samples are those of RFC 8037, appendix A."""
    prefix = bytes.fromhex("302a300506032b6570032100")  # SubjectPublicKeyInfo of Ed25519, RFC 8410
    raw = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
    assert yaml.safe_load(oauth_key.RETURN)["fingerprint"]["sample"] == hashlib.sha256(prefix + raw).hexdigest()


def test_default_mode(run: Run, tmp_path: Path) -> None:
    run()
    assert stat.S_IMODE((tmp_path / "keys/signing.pem").stat().st_mode) == 0o600


def test_check_mode(run: Run, tmp_path: Path) -> None:
    rc, result, _text = run(_ansible_check_mode=True)
    assert (rc, result["changed"], result["kid"], result["alg"]) == (0, True, None, "EdDSA")
    assert result["diff"]["before"]["key"] == "absent"
    assert result["diff"]["after"]["key"]["mode"] == "0600"
    assert list(tmp_path.iterdir()) == []


def test_nothing_private_is_printed(run: Run, info: Info, published: dict[str, str], tmp_path: Path) -> None:
    """In any run, at the highest verbosity, whether it succeeds or fails."""
    path = tmp_path / "keys/signing.pem"
    secrets: list[str] = []
    printed: list[str] = []

    def loud(**arguments: Any) -> None:
        printed.append(run(_ansible_verbosity=5, _ansible_diff=True, **published, **arguments)[2])
        if path.exists():
            secrets.append("".join(path.read_text(encoding="ascii").splitlines()[1:-1]))

    loud()
    path.chmod(0o644)
    loud()
    loud(rotation="begin", minimum_interval_days=0)
    loud(rotation="finish")
    loud(algorithm="RS256")
    path.write_text(path.read_text(encoding="ascii").replace("K2Vw", "K2V4"), encoding="ascii")
    loud()
    (tmp_path / "jwks.json").write_text('{"keys": [{"kty": "OKP", "d": "hidden-too"}]}', encoding="ascii")
    path.unlink()
    loud()
    printed.append(json.dumps([info(path, tmp_path / "jwks.json")]))
    assert ['"failed": true' in text for text in printed] == [False] * 4 + [True] * 4
    assert len(set(secrets)) == 3
    for text in printed:
        assert "BEGIN" not in text
        assert "hidden-too" not in text
        for secret in secrets:
            assert [at for at in range(24, len(secret) - 8) if secret[at : at + 8] in text] == []


def test_rejected(run: Run, tmp_path: Path) -> None:
    run()
    rc, result, _text = run(algorithm="ES256")
    assert (rc, result["failed"]) == (1, True)
    assert result["msg"] == (
        f"{tmp_path}/keys/signing.pem holds a key for EdDSA, but ES256 was requested; "
        "request what is there, rotate to what is requested, or move the key away to have a new one made."
    )


@pytest.mark.parametrize("mode", ["0644", "0660", "0700", "600", 0o600])
def test_modes_that_are_no_option(run: Run, mode: str | int, tmp_path: Path) -> None:
    rc, result, _text = run(mode=mode)
    assert rc == 1
    assert result["msg"].startswith("value of mode must be one of: 0400, 0440, 0600, 0640, got: ")
    assert list(tmp_path.iterdir()) == []


def test_warning(run: Run, tmp_path: Path) -> None:
    run()
    (tmp_path / "keys/signing.pem").chmod(0o604)
    _rc, result, text = run()
    assert result["actions"] == ["set_permissions"]
    assert "think of a new key" in text


def test_without_the_library(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a bare host: the import itself fails, and the distribution's own interpreter has none either."""
    monkeypatch.setattr(_system_python, "probe_interpreters_for_module", lambda *_arguments: None)
    for name in [each for each in sys.modules if each.split(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in [each for each in sys.modules if "._oauth_key" in each or ".nous_vm.key" in each]:
        monkeypatch.delitem(sys.modules, name)

    def bare() -> None:
        runpy.run_path(oauth_key.__file__, run_name="__main__")

    rc, result, _text = run(bare)
    assert rc == 1
    assert result["msg"].startswith("Failed to import the required Python library (cryptography)")
    assert list(tmp_path.iterdir()) == []
    rc, result, _text = run(bare, _ansible_check_mode=True)
    assert (rc, result["changed"], result["actions"]) == (0, True, ["create_directory", "create_key"])


class TestRotation:
    def test_whole(self, run: Run, published: dict[str, str], tmp_path: Path) -> None:
        _rc, first, _text = run(**published)
        path = tmp_path / "keys/signing.pem"
        os.utime(path, (0, 0))
        _rc, begun, _text = run(**published, rotation="begin")
        assert (begun["changed"], begun["restart_needed"]) == (True, True)
        assert begun["kid"] != first["kid"]
        _rc, again, _text = run(**published, rotation="begin")
        assert (again["changed"], again["restart_needed"]) == (False, True)
        _rc, done, _text = run(**published, rotation="finish")
        assert (done["changed"], done["restart_needed"], done["actions"]) == (True, False, ["date_keys"])
        _rc, again, _text = run(**published, rotation="finish")
        assert again["changed"] is False

    @pytest.mark.parametrize("rotation", ["begin", "finish"])
    def test_needs_a_set(self, run: Run, rotation: str, tmp_path: Path) -> None:
        rc, result, _text = run(rotation=rotation)
        assert rc == 1
        assert result["msg"] == f"rotation is {rotation} but all of the following are missing: jwks_path"
        assert list(tmp_path.iterdir()) == []


class TestInfo:
    def test_returns_what_the_module_returns(self, run: Run, info: Info, published: dict[str, str], tmp_path: Path) -> None:
        _rc, made, _text = run(**published)
        path, jwks = tmp_path / "keys/signing.pem", tmp_path / "jwks.json"
        before = [(each.stat(), each.read_bytes()) for each in (path, jwks)]
        seen = info(path, jwks)
        documented = set(yaml.safe_load(oauth_key_info.RETURN))
        assert set(seen) - {"changed", "invocation", "warnings"} - ADDED_BY_ANSIBLE == documented
        assert {name: seen[name] for name in documented - {"exists"}} == {name: made[name] for name in documented - {"exists"}}
        assert (seen["exists"], seen["changed"]) == (True, False)
        for file, (status, content) in zip((path, jwks), before, strict=True):
            assert (file.stat().st_mtime_ns, file.stat().st_ctime_ns, file.read_bytes()) == (
                status.st_mtime_ns,
                status.st_ctime_ns,
                content,
            )

    def test_there_is_none(self, info: Info, tmp_path: Path) -> None:
        seen = info(tmp_path / "keys/signing.pem", tmp_path / "jwks.json")
        assert seen["exists"] is False
        assert [seen[name] for name in ("alg", "kid", "fingerprint", "created", "age_days", "next_kid")] == [None] * 6
        assert (seen["published"], seen["restart_needed"], seen["rotation_due"]) == ([], False, False)
        assert list(tmp_path.iterdir()) == []

    def test_any_owner_and_mode_and_algorithm(self, run: Run, info: Info, tmp_path: Path) -> None:
        run(algorithm="ES256")
        (tmp_path / "keys/signing.pem").chmod(0o604)
        seen = info(tmp_path / "keys/signing.pem")
        assert (seen["alg"], seen["published"], seen["jwks_path"]) == ("ES256", [], None)

    def test_due(self, run: Run, info: Info, tmp_path: Path) -> None:
        run()
        path = tmp_path / "keys/signing.pem"
        os.utime(path, (0, 0))
        assert info(path)["rotation_due"] is True
        assert info(path, rotate_after_days=10**6)["rotation_due"] is False

    def test_rejected(self, run: Run, info: Info, tmp_path: Path) -> None:
        run()
        path = tmp_path / "keys/signing.pem"
        path.write_text("", encoding="ascii")
        assert info(path)["msg"].startswith(f"{path} holds no key in PEM; ")

    def test_takes_what_it_documents(self, monkeypatch: pytest.MonkeyPatch) -> None:
        taken: dict[str, Any] = {}

        def module(argument_spec: dict[str, Any], supports_check_mode: bool) -> None:
            taken.update(argument_spec)
            raise SystemExit(supports_check_mode)

        monkeypatch.setattr(oauth_key_info, "AnsibleModule", module)
        with pytest.raises(SystemExit) as end:
            oauth_key_info.main()
        assert end.value.code is True
        documented = yaml.safe_load(oauth_key_info.DOCUMENTATION)["options"]
        for option in documented.values():
            del option["description"]
        assert taken == documented

    def test_without_the_library(self, info: Info, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(oauth_key_info, "CRYPTOGRAPHY_ERROR", "ImportError")
        monkeypatch.setattr(_system_python, "probe_interpreters_for_module", lambda *_arguments: None)
        seen = info(tmp_path / "signing.pem")
        assert seen["msg"].startswith("Failed to import the required Python library (cryptography)")
