#!/usr/bin/python
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The documentation of an action plugin, plugins/action/validate.py, which does all of it on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: validate
short_description: Validate and convert the variables of roles, and what they need of the host
version_added: 1.0.0
author:
  - nous.vm authors (@rmednitzer)
description:
  - Reads the variables of roles of this collection by typed rules, on the controller. All faults of all roles come in one message, a line each, that names the
    variable, its value, what is allowed and an example, before anything is asked of the host. A secret value is never shown.
  - A value that comes as text, with C(-e) or from an INI inventory, is converted once; the roles use what this returns.
  - Then M(nous.vm.probe) runs once for all of the roles, in check mode too, and all faults of the host come in one message the same way.
extends_documentation_fragment:
  - nous.vm.attributes
  - nous.vm.attributes.action
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
options:
  roles:
    description:
      - Names of the roles, for example V(nous_service).
    type: list
    elements: str
    required: true
  earlier:
    description:
      - The RV(identity) of what this returned earlier in the same run of C(ansible-playbook), for these roles among others. If the values are the same and the
        host lacked nothing of them, its answers serve once more for each role, and nothing is executed on the host.
    type: str
  probe:
    description:
      - Whether the host is asked too. V(false) is for playbooks that run on the controller alone.
    type: bool
    default: true
  adopt:
    description:
      - Whether what nous's own bundle left on the host is about to be set aside, and so is no fault.
    type: bool
    default: false
seealso:
  - module: nous.vm.probe
"""

EXAMPLES = r"""
- name: Validate the variables of two roles, and what they need of the host
  nous.vm.validate:
    roles: [python_runtime, nous_service]
  register: nous_vm
"""

RETURN = r"""
values:
  description:
    - The converted values, by role and variable. The result is not logged, because values may be secret.
    - If O(roles) is one role, its variables are keys of the result too.
  returned: success
  type: dict
  sample: {python_runtime: {python_runtime_interpreter: /usr/bin/python3}}
derived:
  description: What follows of the values on the controller, by role, for example the SHA-256 of an archive.
  returned: success
  type: dict
host:
  description: What M(nous.vm.probe) answers.
  returned: when O(probe) is true
  type: dict
lacking:
  description: What the host lacks, by role. A role's list is empty if all that it looks at is there.
  returned: when O(probe) is true
  type: dict
missing_packages:
  description: The packages that the host does not have, of all roles that install their packages.
  returned: when O(probe) is true
  type: list
  elements: str
inventory_hostname:
  description: The host that was asked.
  returned: success
  type: str
identity:
  description: A number of this answer, by which it is used once for each role.
  returned: when O(probe) is true
  type: str
"""
