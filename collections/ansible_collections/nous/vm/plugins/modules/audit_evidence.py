#!/usr/bin/python
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: audit_evidence
short_description: Read the evidence of an audit log
version_added: 1.0.0
author:
  - nous.vm authors (@rmednitzer)
description:
  - Lists what a host has of the evidence of an audit log, or reads a piece of it, and changes nothing. The playbook C(nous.vm.fetch_audit) is what uses it,
    by way of M(nous.vm.fetch_audit).
extends_documentation_fragment:
  - nous.vm.attributes.info
options:
  name:
    description:
      - The rotation, as C(audit_logrotate_name) has it.
    type: str
    default: nous
  known:
    description:
      - How many bytes of each file the controller has, by C(kind/name/segment).
    type: dict
    default: {}
  piece:
    description:
      - A file by C(key), and the bytes of it to read, from C(start) on and at most C(size) of them. Without it, the files are listed.
    type: dict
seealso:
  - module: nous.vm.fetch_audit
"""

EXAMPLES = r"""
- name: List what there is
  nous.vm.audit_evidence:
  become: true
  register: evidence
"""

RETURN = r"""
files:
  description:
    - The files, each with C(kind) (log, anchors, trail or checkpoints), C(name), C(segment) (SHA-256 of the first line of a log), C(size) in complete lines and
      decompressed, and C(sha256) of its first bytes, as many as O(known) says.
  returned: without O(piece)
  type: list
  elements: dict
jwks:
  description: The JWK set of the keys that sign checkpoints; empty if none are made.
  returned: without O(piece)
  type: str
content:
  description: The bytes, compressed with zlib and in base64. Null if there is no such file any more.
  returned: with O(piece)
  type: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nous.vm.plugins.module_utils._audit_evidence import listing, piece, published
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError


def main() -> None:
    module = AnsibleModule(
        argument_spec={"name": {"type": "str", "default": "nous"}, "known": {"type": "dict", "default": {}}, "piece": {"type": "dict"}},
        supports_check_mode=True,
    )
    name, wanted = module.params["name"], module.params["piece"]
    try:
        if wanted:
            module.exit_json(changed=False, content=piece(name, str(wanted["key"]), int(wanted["start"]), int(wanted["size"])))
        known = {str(key): int(size) for key, size in module.params["known"].items()}
        module.exit_json(changed=False, files=listing(name, known), jwks=published(name))
    except (NousVmError, OSError, ValueError, KeyError, EOFError) as error:
        module.fail_json(msg=f"the evidence cannot be read: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
