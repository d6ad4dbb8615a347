#!/usr/bin/python
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: probe
short_description: Answer what the roles of nous.vm ask of a host
version_added: 1.0.0
author:
  - nous.vm authors (@rmednitzer)
description:
  - Reads, in one execution, what several roles need to know of a host, and changes nothing. M(nous.vm.validate) is what uses it.
  - Each question has a limit of time; one that breaks or is late is named among the failed ones, and the others are answered.
extends_documentation_fragment:
  - nous.vm.attributes.info
options:
  questions:
    description:
      - What is asked, by name. C(packages), C(accounts), C(groups), C(units), C(calendars), C(elapses), C(pythons), C(space), C(matches), C(flags) and
        C(paths) take a list of names, paths or patterns; C(ports) takes a list of C(address) and the C(unit) that may hold it; C(keys) takes a list of
        options of M(nous.vm.oauth_key).
    type: dict
    required: true
  key:
    description:
      - What digests of files are keyed with, as hexadecimal digits, so that a digest of a short secret tells nothing to those who do not have the key.
    type: str
    required: true
seealso:
  - module: nous.vm.validate
"""

EXAMPLES = r"""
- name: Query packages and free space
  nous.vm.probe:
    questions:
      packages: [caddy]
      space: [/opt/nous]
    key: "{{ lookup('ansible.builtin.password', '/dev/null', chars=['hexdigits'], length=64) }}"
  register: host
"""

RETURN = r"""
answers:
  description: The answers by the names of the questions, with C(platform), and C(failed) with the reason of each question that has no answer.
  returned: success
  type: dict
  sample: {failed: {}, platform: {distribution: Debian, release: trixie}, packages: {caddy: 2.6.2-12}, space: {/opt/nous: 20480}}
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nous.vm.plugins.module_utils._probe import answers


def main() -> None:
    module = AnsibleModule(
        argument_spec={"questions": {"type": "dict", "required": True}, "key": {"type": "str", "required": True, "no_log": True}},
        supports_check_mode=True,
    )
    try:
        key = bytes.fromhex(module.params["key"])
    except ValueError:
        module.fail_json(msg="key is not of hexadecimal digits; allowed are pairs of them, for example 00ff.")
    module.exit_json(changed=False, answers=answers(module.params["questions"], key))


if __name__ == "__main__":
    main()
