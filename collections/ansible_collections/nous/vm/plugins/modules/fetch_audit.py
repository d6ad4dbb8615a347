#!/usr/bin/python
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: fetch_audit
short_description: Fetch the evidence of an audit log to the controller, and verify it there
version_added: 1.0.0
author:
  - nous.vm authors (@rmednitzer)
description:
  - Copies the log with all its archives, the anchors, the trail and the signed checkpoints to a folder of the controller, and verifies them there against the
    key that was pinned at the first run.
  - Nothing that was fetched is ever overwritten or made shorter. What a host has more of is appended; what a host has otherwise than it was fetched is
    reported with file and record, and not fetched.
  - A host's archives may expire, their copies stay.
extends_documentation_fragment:
  - nous.vm.attributes
  - nous.vm.attributes.action
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    details:
      - Of a log that nobody writes to meanwhile.
options:
  name:
    description:
      - The rotation, as C(audit_logrotate_name) has it.
    type: str
    default: nous
  directory:
    description:
      - Absolute path of a folder of the controller, for this host alone. It is made, for the user who runs this alone.
    type: path
    required: true
seealso:
  - module: nous.vm.audit_evidence
"""

EXAMPLES = r"""
- name: Fetch and verify the evidence
  nous.vm.fetch_audit:
    directory: /srv/audit/{{ inventory_hostname }}
  become: true
  register: evidence
"""

RETURN = r"""
fetched:
  description: How many bytes of which file were fetched, or would be in check mode.
  returned: success
  type: dict
  sample: {"trail.jsonl": 4096}
whole:
  description: Whether all that was fetched verifies, and the host has it as it was fetched.
  returned: success
  type: bool
parts:
  description: What C(nous-vm audit verify --json) prints of each part.
  returned: success
  type: list
  elements: dict
differs:
  description: What the host has otherwise than it was fetched, a sentence each.
  returned: success
  type: list
  elements: str
key:
  description: What is to be said of the key, that it was pinned by this run or has changed since. Empty if it is the one that was pinned.
  returned: success
  type: str
"""
