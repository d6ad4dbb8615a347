# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's TCP sockets, as the kernel's tables show them."""

from __future__ import annotations

import os
import pwd
import socket
from pathlib import Path

import pytest
from ansible_collections.nous.vm.plugins.module_utils.nous_vm import network
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.network import Listener

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_who_listens_where(family: socket.AddressFamily, address: str) -> None:
    try:
        server = socket.create_server((address, 0), family=family)
    except OSError:
        pytest.skip(f"there is no {address} here")
    with server:
        port = server.getsockname()[1]
        listener = Listener(socket.inet_pton(family, address), port)
        assert listener in network.listeners().values()
        assert listener in network.listeners(pwd.getpwuid(os.geteuid()).pw_name).values()
        assert listener not in network.listeners("nobody").values()
        assert network.ports_of(Path(f"/proc/{os.getpid()}"), network.listeners()) >= {port}
        assert network.holders([port])[port].endswith(f"(pid {os.getpid()})")
    assert listener not in network.listeners().values()
    assert network.holders([port]) == {}


def test_a_process_that_is_gone() -> None:
    assert network.ports_of(Path("/proc/0"), {}) == set()


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A host on which a process, whose folder is returned, listens on port 443, and nobody knows who does on 80."""
    process = tmp_path / "77"
    (process / "fd").mkdir(parents=True)
    (process / "fd/3").symlink_to("socket:[5]")
    (process / "fd/4").symlink_to("socket:[6]")
    (process / "comm").write_bytes(b"ca\x1bddy\n")
    (process / "cgroup").write_text("0::/system.slice/caddy.service\n", encoding="utf-8")
    (tmp_path / "self").mkdir()
    monkeypatch.setattr(network, "Path", lambda name: tmp_path if name == "/proc" else Path(name))
    monkeypatch.setattr(network, "listeners", lambda: {"socket:[5]": Listener(b"", 443), "socket:[9]": Listener(b"", 80)})
    return process


def test_holders(held: Path) -> None:
    assert network.holders([80, 443, 8080]) == {80: "another program", 443: "ca\\x1bddy (pid 77)"}
    assert network.holders([80, 443], "caddy.service") == {80: "another program"}
    assert network.holders([443], "nous.service") == {443: "ca\\x1bddy (pid 77)"}


def test_a_holder_that_ends_meanwhile(held: Path) -> None:
    (held / "comm").unlink()
    assert network.holders([443]) == {443: "another program"}


def test_a_descriptor_that_is_closed_meanwhile_hides_no_other(held: Path) -> None:
    (held / "fd/0").touch()
    (held / "fd/9").touch()
    assert network.ports_of(held, network.listeners()) == {443}


@pytest.mark.parametrize(
    ("address", "cidrs", "listed"),
    [
        ("192.0.2.7", ["192.0.2.0/24"], True),
        ("192.0.3.7", ["192.0.2.0/24", "2001:db8::/32"], False),
        ("::ffff:192.0.2.7", ["192.0.2.0/24"], True),
        ("2001:db8::1", ["192.0.2.0/24", "2001:db8::/32"], True),
        ("2001:db8::1", [], False),
    ],
)
def test_listed(address: str, cidrs: list[str], listed: bool) -> None:
    assert network.listed(address, cidrs) is listed
