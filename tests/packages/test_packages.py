# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module packages with the real apt and dpkg: what others hold, break or left unfinished."""

from __future__ import annotations

import time

import pytest

from .conftest import Host

LOCKED = """
import fcntl, sys, time
held = open(sys.argv[1], "w")
fcntl.lockf(held, fcntl.LOCK_EX)
open("/run/locked", "w")
time.sleep(float(sys.argv[2]))
"""
SILENT = "import socket, time; s = socket.create_server(('127.0.0.1', 9010)); open('/run/locked', 'w'); time.sleep(600)"


def lock(host: Host, path: str, seconds: float) -> None:
    """Have another program hold a lock for so many seconds."""
    host.beside("/usr/bin/python3", "-c", LOCKED, path, str(seconds))
    host.sh("until [ -e /run/locked ]; do sleep 0.05; done")


def test_installed_once_and_not_started(host: Host) -> None:
    assert host.packages("demo", check_mode=True)["msg"] == "Would install demo."
    first = host.packages("demo", "python3", disabled=["demo.service"])
    assert (first["changed"], first["installed"], first.get("warnings")) == (True, ["demo"], None), first
    assert host.sh("systemctl is-active demo.service", check=False) == "inactive"
    assert host.sh("systemctl is-enabled demo.service", check=False) == "disabled"
    assert host.sh("ls /usr/sbin/policy-rc.d*", check=False) == ""
    assert host.packages("demo")["changed"] is False


def test_a_unit_starts_at_the_next_boot(host: Host) -> None:
    host.packages("demo")
    assert host.sh("systemctl is-enabled demo.service", check=False) == "enabled"
    assert host.sh("systemctl is-active demo.service", check=False) == "inactive"


def test_the_host_s_own_policy_is_kept(host: Host) -> None:
    host.sh(r"printf '#!/bin/sh\nexit 0\n' > /usr/sbin/policy-rc.d; chmod 0755 /usr/sbin/policy-rc.d")
    assert host.packages("demo")["changed"]
    assert host.sh("systemctl is-active demo.service", check=False) == "inactive"
    assert host.sh("cat /usr/sbin/policy-rc.d") == "#!/bin/sh\nexit 0"


@pytest.mark.parametrize("path", ["/var/lib/dpkg/lock-frontend", "/var/lib/apt/lists/lock"])
def test_a_lock_is_waited_for(host: Host, path: str) -> None:
    lock(host, path, 4)
    assert host.packages("demo", lock_timeout=120)["changed"]


def test_who_holds_a_lock_too_long_is_named(host: Host) -> None:
    lock(host, "/var/lib/dpkg/lock-frontend", 600)
    pid = host.sh("systemctl show --value --property=MainPID beside.service")
    found = host.packages("demo", lock_timeout=1)
    assert found["failed"]
    assert f"(pid {pid}) holds /var/lib/dpkg/lock-frontend, which was waited for 1 s (lock_timeout)" in found["msg"]
    assert found["msg"].startswith("/usr/bin/python3 -c import fcntl")


@pytest.mark.parametrize("asked", ["slow", "demo"])
def test_an_interrupted_dpkg_is_completed(host: Host, asked: str) -> None:
    """Killed in the middle of a package that is asked for, or of another."""
    host.sh("touch /run/slow; apt-get -q update")
    host.beside("apt-get", "--yes", "install", "slow")
    host.sh("until [ -e /run/slow-began ]; do sleep 0.05; done; systemctl kill --signal=KILL beside.service; rm /run/slow")
    host.sh("while systemctl is-active --quiet beside.service; do sleep 0.05; done")
    status = "dpkg-query --show --showformat='${db:Status-Status}' slow"
    assert host.sh(status) == "half-configured"
    found = host.packages(asked)
    assert (found["changed"], found["completed"]) == (True, True), found
    assert (host.sh(status), host.sh("dpkg --audit")) == ("installed", "")


def test_a_broken_repository_is_a_warning(host: Host) -> None:
    host.sh("echo 'deb http://127.0.0.1:9/debian stable main' > /etc/apt/sources.list.d/broken.list")
    found = host.packages("demo")
    assert found["installed"] == ["demo"], found
    assert any("127.0.0.1" in warning for warning in found["warnings"])


def test_a_repository_that_never_answers_is_not_waited_for(host: Host) -> None:
    host.sh("echo 'deb http://127.0.0.1:9010/debian stable main' > /etc/apt/sources.list.d/silent.list")
    host.beside("/usr/bin/python3", "-c", SILENT)
    host.sh("until [ -e /run/locked ]; do sleep 0.05; done")
    begun = time.monotonic()
    found = host.packages("demo")
    assert found["installed"] == ["demo"], found
    assert time.monotonic() - begun < 150


def test_a_package_that_nobody_has_is_named_in_a_sentence(host: Host) -> None:
    host.sh("echo 'deb http://127.0.0.1:9/debian stable main' > /etc/apt/sources.list.d/broken.list")
    found = host.packages("demo", "nonesuch")
    assert found["failed"]
    assert found["msg"].startswith("demo, nonesuch cannot be installed: Unable to locate package nonesuch; before, apt-get update printed: ")
