#!/usr/bin/python
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The documentation of an action plugin, plugins/action/inventory.py, which does all of it on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: inventory
short_description: Write the inventory of a new host, with its variables and an ansible.cfg
version_added: 1.0.0
author:
  - nous.vm authors (@rmednitzer)
description:
  - Writes C(hosts.yml), C(group_vars/nous.yml) and C(ansible.cfg) into a folder on the controller, for one host of the group C(nous).
  - The variables are validated by the same rules as M(nous.vm.validate) has, all faults in one message. Nothing is written if there is one, or if one of the
    files is there already.
extends_documentation_fragment:
  - nous.vm.attributes
  - nous.vm.attributes.action
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: none
    description: What is there is not overwritten; a second run fails.
options:
  host:
    description:
      - Name of the host, by which it is reached and, without C(caddy_gateway_hostname) in O(variables), by which clients reach it.
    type: str
    required: true
  directory:
    description:
      - Absolute path of the folder to write to. By default a folder with the name of the host in the current one.
    type: str
    default: ""
  user:
    description:
      - Who Ansible logs in as, and may become root.
    type: str
    default: ""
  variables:
    description:
      - Variables of the roles for C(group_vars); what no role knows is left out. Without C(caddy_gateway_operator_cidrs) it is the address that the person who
        runs this came from by ssh.
    type: dict
    default: {}
seealso:
  - module: nous.vm.validate
"""

EXAMPLES = r"""
- name: Write the inventory of a host
  nous.vm.inventory:
    host: nous.example.org
    user: operator
    variables:
      caddy_gateway_operator_cidrs: [203.0.113.7/32]
"""

RETURN = r"""
directory:
  description: Where the files are.
  returned: success
  type: str
files:
  description: Names of the files in it.
  returned: success
  type: list
  elements: str
operator:
  description: The address that was taken from the connection of the person who runs this; nothing if it was given.
  returned: success
  type: str
"""
