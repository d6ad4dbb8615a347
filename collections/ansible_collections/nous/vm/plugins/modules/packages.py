#!/usr/bin/python
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: packages
short_description: Make sure that packages of the distribution are installed
version_added: 1.0.0
author:
  - nous.vm authors (@rmednitzer)
description:
  - Asks C(dpkg) first, which needs no network and no library for Python; C(apt-get) only runs for what lacks, without recommended packages.
  - Waits for whoever holds a lock of apt or dpkg, and prints who it is if that takes too long.
  - An interrupted C(dpkg) is brought to its end first.
  - A repository that fails is a warning as long as the packages come from another one.
  - Services that come with the packages are not started, and no service of others is restarted. Nothing is removed.
extends_documentation_fragment:
  - nous.vm.attributes
attributes:
  check_mode:
    support: full
    details:
      - Works on a bare host, and does not wait for locks.
  diff_mode:
    support: full
  platform:
    support: full
    platforms: debian
options:
  name:
    description:
      - Names of the packages.
    type: list
    elements: str
    required: true
  disabled:
    description:
      - Units that are left disabled if they come with the packages. One that was there before belongs to somebody and stays as it is.
    type: list
    elements: str
    default: []
  lock_timeout:
    description:
      - Seconds to wait for others who hold a lock of apt or dpkg.
    type: int
    default: 300
seealso:
  - module: ansible.builtin.apt
"""

EXAMPLES = r"""
- name: Install a proxy without its service
  nous.vm.packages:
    name: [ca-certificates, haproxy]
    disabled: [haproxy.service]
"""

RETURN = r"""
installed:
  description: The packages that were not installed before; in check mode, those that would be installed.
  returned: success
  type: list
  elements: str
  sample: [haproxy]
completed:
  description: Whether an interrupted C(dpkg) was brought to its end.
  returned: success
  type: bool
  sample: false
msg:
  description: What was done or would be.
  returned: success
  type: str
  sample: Installed haproxy.
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nous.vm.plugins.module_utils._packages import PackagesError, ensure
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "list", "elements": "str", "required": True},
            "disabled": {"type": "list", "elements": "str", "default": []},
            "lock_timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    given = module.params
    try:
        outcome = ensure(given["name"], given["disabled"], given["lock_timeout"], module.check_mode)
    except (PackagesError, NousVmError, OSError) as error:
        module.fail_json(msg=str(error))
    for warning in outcome.warnings:
        module.warn(warning)
    verb = "Would install" if module.check_mode else "Installed"
    module.exit_json(
        changed=bool(outcome.installed),
        installed=outcome.installed,
        completed=outcome.completed,
        msg=f"{verb} {', '.join(outcome.installed)}." if outcome.installed else "All packages are installed.",
        diff={"before": "", "after": "".join(f"{name}\n" for name in outcome.installed)} if module._diff else {},
    )


if __name__ == "__main__":
    main()
