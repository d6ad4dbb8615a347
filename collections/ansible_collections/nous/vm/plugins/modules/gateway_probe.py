#!/usr/bin/python
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_probe
short_description: Probe a gateway from where this runs
version_added: 1.0.0
author:
  - nous.vm authors (@rmednitzer)
description:
  - Sends one request to a gateway of the role C(nous.vm.caddy_gateway), and judges the answer by whether the address that it was sent from is on the allow
    list. It is meant to run on the controller (C(delegate_to)).
  - Does not fail if the gateway is not as it should be, or cannot be reached; the row that it returns has that in it.
extends_documentation_fragment:
  - nous.vm.attributes.info
attributes:
  platform:
    support: full
    platforms: posix
options:
  hostname:
    description:
      - Host name that the gateway serves.
    type: str
    required: true
  cidrs:
    description:
      - The allow list, networks in CIDR notation.
    type: list
    elements: str
    required: true
  addresses:
    description:
      - Names or addresses to reach the gateway at. The first that answers counts.
    type: list
    elements: str
    required: true
seealso:
  - module: nous.vm.gateway_info
    description: Reports what a host has.
"""

EXAMPLES = r"""
- name: Probe the gateway from the controller
  nous.vm.gateway_probe:
    hostname: nous.example.org
    cidrs: [160.79.104.0/21, 203.0.113.7/32]
    addresses: [nous.example.org]
  delegate_to: localhost
  become: false
  register: gateway

- name: Fail if it is not as it should be
  ansible.builtin.assert:
    that: gateway.row.status != 'fail'
    fail_msg: "{{ gateway.row.detail }}"
"""

RETURN = r"""
row:
  description: A row as those of C(nous-vm check).
  returned: success
  type: dict
  contains:
    part:
      description: Part of the check.
      type: str
      sample: gateway
    name:
      description: What was probed.
      type: str
      sample: gateway from the controller
    status:
      description: One of V(ok), V(unknown) (it cannot be probed from here) and V(fail).
      type: str
      sample: ok
    detail:
      description: What the gateway answered.
      type: str
      sample: 403 for 192.0.2.4, which is not on the allow list, at nous.example.org
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway.probe import from_controller


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "hostname": {"type": "str", "required": True},
            "cidrs": {"type": "list", "elements": "str", "required": True},
            "addresses": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, row={"part": "gateway", **from_controller(**module.params)._asdict()})


if __name__ == "__main__":
    main()
