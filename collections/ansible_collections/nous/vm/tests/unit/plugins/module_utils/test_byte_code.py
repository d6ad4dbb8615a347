# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Byte code of installed modules: made once, made anew when a module changed, and no failure if it cannot be made."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils._byte_code import compile_modules, is_valid, tag

TAG = tag(sys.executable)


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "package/inner/module.py"
    path.parent.mkdir(parents=True)
    (tmp_path / "package/__init__.py").touch()
    path.write_text("A = 1\n", encoding="utf-8")
    return path


def compiled(module: Path, *rewritten: Path) -> str:
    return compile_modules(str(module.parents[1]), [str(path) for path in rewritten], sys.executable)


def code_of(module: Path) -> Path:
    return module.parent / f"__pycache__/{module.stem}.{TAG}.pyc"


def test_tag(tmp_path: Path) -> None:
    assert tag(sys.executable) == sys.implementation.cache_tag
    assert tag(str(tmp_path / "pypy")) == ""


def test_every_module_gets_byte_code_once(module: Path) -> None:
    assert not is_valid(module, TAG)
    assert compiled(module) == ""
    assert is_valid(module, TAG)
    assert is_valid(module.parents[1] / "__init__.py", TAG)
    before = code_of(module).stat().st_ino
    assert compiled(module) == ""
    assert code_of(module).stat().st_ino == before


@pytest.mark.parametrize("content", ["A = 12\n", "B = 1\n"])
def test_a_module_that_changed_is_compiled_anew(module: Path, content: str) -> None:
    compiled(module)
    module.write_text(content, encoding="utf-8")
    os.utime(module, (1, 1))
    assert not is_valid(module, TAG)
    compiled(module)
    assert is_valid(module, TAG)


def test_one_rewritten_in_the_same_second_with_the_same_size_is_compiled_anew(module: Path) -> None:
    compiled(module)
    before, found = code_of(module).read_bytes(), module.stat()
    module.write_text("A = 2\n", encoding="utf-8")
    os.utime(module, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert is_valid(module, TAG)  # as Python itself would think
    compiled(*[module] * 2)
    assert code_of(module).read_bytes() != before


@pytest.mark.parametrize("damage", [b"", b"\0" * 16])
def test_damaged_byte_code_is_made_anew(module: Path, damage: bytes) -> None:
    compiled(module)
    code_of(module).write_bytes(damage)
    assert not is_valid(module, TAG)
    compiled(module)
    assert is_valid(module, TAG)


def test_of_another_interpreter_the_magic_number_is_not_known(module: Path) -> None:
    compiled(module)
    other = module.parent / "__pycache__/module.cpython-999.pyc"
    other.write_bytes(b"xyz\n" + code_of(module).read_bytes()[4:])
    assert is_valid(module, "cpython-999")
    assert not is_valid(module.parents[1] / "__init__.py", "cpython-999")


def test_everybody_can_read_it_whatever_the_umask(module: Path) -> None:
    module.chmod(0o644)
    previous = os.umask(0o077)
    try:
        compiled(module)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(code_of(module).stat().st_mode) & 0o444 == 0o444
    assert stat.S_IMODE(code_of(module).parent.stat().st_mode) == 0o755


def test_a_module_that_does_not_compile_is_named(module: Path) -> None:
    module.write_text("A = (\n", encoding="utf-8")
    assert compiled(module).startswith(f"no byte code for the modules below {module.parents[1]}: ")
    assert is_valid(module.parents[1] / "__init__.py", TAG)


def test_an_interpreter_that_is_not_there(module: Path) -> None:
    problem = compile_modules(str(module.parent), [], "/no/python3")
    assert problem == f"no byte code for the modules below {module.parent}: /no/python3 is not installed"


def test_a_directory_without_modules(tmp_path: Path) -> None:
    assert compile_modules(str(tmp_path / "absent"), [], "/no/python3") == ""
