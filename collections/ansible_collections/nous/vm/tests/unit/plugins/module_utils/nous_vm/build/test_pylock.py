# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which file of a package is taken, and what is rejected because anything could be taken for it."""

from __future__ import annotations

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build import pylock
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.pylock import Host
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.build.tools import BuildError

HOST = Host("3.13", "x86_64", 36)
HASH = "0" * 64


@pytest.mark.parametrize(
    ("best", "others"),
    [
        ("d-1-cp313-cp313-manylinux_2_28_x86_64.whl", ["d-1-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "d-1-py3-none-any.whl"]),
        ("d-1-cp313-cp313-manylinux2014_x86_64.whl", ["d-1-cp313-cp313-manylinux_2_39_x86_64.whl", "d-1-cp313-cp313-musllinux_1_2_x86_64.whl"]),
        ("d-1-cp311-abi3-manylinux_2_17_x86_64.whl", ["d-1-cp39-abi3-manylinux_2_17_x86_64.whl", "d-1-cp314-abi3-manylinux_2_17_x86_64.whl"]),
        ("d-1-2-py2.py3-none-any.whl", ["d-1-cp313-cp313t-linux_x86_64.whl", "d-1-cp312-cp312-linux_x86_64.whl", "d-1-py314-none-any.whl"]),
        ("d-1-cp313-none-linux_x86_64.whl", ["d-1-cp313-cp313-linux_aarch64.whl", "d-1-cp313-cp313-win_amd64.whl", "nonsense.whl", "d-1-pp3-none-any.whl"]),
    ],
)
def test_the_best_wheel_is_taken(best: str, others: list[str]) -> None:
    wheels = ", ".join(f'{{url = "https://x/{name}", hashes = {{sha256 = "{HASH}"}}}}' for name in [*others, best])
    (found,) = pylock.parse(f'[[packages]]\nname = "d"\nversion = "1"\nwheels = [{wheels}]\n', "uv.lock", HOST)
    assert found.file == best


def test_a_source_archive_is_taken_if_no_wheel_fits() -> None:
    text = f"""
        [[packages]]
        name = "d"
        version = "1"
        marker = "python_version > '3'"
        sdist = {{url = "https://x/a%2Bd-1.tar.gz?x#y", hashes = {{sha256 = "{HASH}"}}}}
        wheels = [{{name = "d-1-cp313-cp313-win32.whl", url = "https://x/y", hashes = {{sha256 = "{HASH}"}}}}]
        [[packages]]
        name = "sent"
        archive = {{path = "x.whl", hashes = {{sha256 = "{HASH}"}}}}
        """
    (found,) = pylock.parse(text, "uv.lock", HOST)
    assert (found.file, found.is_source) == ("a+d-1.tar.gz", True)
    assert found.requirement == f"d==1 ; python_version > '3' --hash=sha256:{HASH}"
    assert pylock.received(pylock.told([found])) == [found]
    only = pylock.parse(text.replace("sdist", "other"), "uv.lock", HOST)
    assert only[0].file == "d-1-cp313-cp313-win32.whl", "whether it is wanted here, uv finds out by the marker"


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ('wheels = [{url = "https://x/d-1-py3-none-any.whl", hashes = {}}]', "no hash for d 1"),
        (
            'wheels = [{url = "https://x/d-1-py3-none-any.whl", hashes = {md5 = "d41d8cd98f00b204e9800998ecf8427e"}}]',
            "no hash for d 1, or one that is not SHA-256",
        ),
        ("", "no hash for d 1"),
        ('vcs = {url = "https://x/d.git"}', "no hash for d 1: it is a folder or a repository"),
        ('directory = {path = "d"}', "no hash for d 1: it is a folder or a repository"),
        (f'sdist = {{url = "https://x/-", hashes = {{sha256 = "{HASH}"}}}}', "is no name"),
        ("sdist = 3", "cannot be read"),
        ("garbage", "cannot be read"),
    ],
)
def test_what_is_rejected(rest: str, words: str) -> None:
    with pytest.raises(BuildError, match=words):
        pylock.parse(f'[[packages]]\nname = "d"\nversion = "1"\n{rest}\n', "uv.lock", HOST)


LOCK = '[[package]]\nname = "dep"\nversion = "1.0"\nsource = {registry = "x"}\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LOCK, "no hash for dep 1.0"),
        (LOCK + 'wheels = [{url = "x"}]\n', "no hash for dep 1.0"),
        (LOCK + 'wheels = [{url = "x", hash = "md5:d41d8cd98f00b204e9800998ecf8427e"}]\n', "not SHA-256"),
        (LOCK + 'sdist = {url = "x"}\nwheels = [{hash = "sha256:x"}]\n', "no hash for dep 1.0"),
        ("garbage =\n", "cannot be read"),
        ("package = 3\n", "cannot be read"),
        ("package = [3]\n", "cannot be read"),
    ],
)
def test_locks_that_are_rejected(text: str, words: str) -> None:
    """uv itself would install from most of them."""
    with pytest.raises(BuildError, match=words):
        pylock.check_lock(text)


def test_locks_that_are_not_rejected() -> None:
    for text in ("", LOCK + 'wheels = [{hash = "sha256:x"}]\n', '[[package]]\nname = "nous"\nsource = {editable = "."}\n'):
        pylock.check_lock(text)


@pytest.mark.parametrize("change", [{"name": "../x"}, {"file": "a/b"}, {"sha256": "x"}, {"marker": "a\n-r /etc/x"}, {"url": "x\ny"}])
def test_what_a_unit_tells_is_looked_at(change: dict[str, str]) -> None:
    good = {"name": "d", "version": "1", "marker": "", "file": "d-1-py3-none-any.whl", "url": "https://x", "sha256": HASH}
    assert pylock.received([good])
    with pytest.raises(BuildError, match="is no package"):
        pylock.received([good | change])


def test_this_host_is_known() -> None:
    assert Host.here("3.13").glibc > 0
