# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of units, folders and sockets: made in one place, and none is of two servers."""

from __future__ import annotations

from ansible_collections.nous.vm.plugins.module_utils.nous_vm.names import names


def test_names_of_the_one_server() -> None:
    found = names()
    assert found.server == "nous.service"
    assert found.slice == "nous.slice"
    assert found.proxy_socket == "nous-proxy.socket"
    assert str(found.proxy_admin) == "/run/nous-proxy-admin/haproxy.sock"


def test_another_server_shares_none_of_them() -> None:
    assert not set(names()) & set(names("two"))
    assert names("two").flush_timer == "nous-two-state-flush.timer"
