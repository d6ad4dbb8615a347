#!/usr/bin/python
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The documentation of an action plugin, plugins/action/show.py, which does all of it on the controller.

from __future__ import annotations

DOCUMENTATION = r"""
module: show
short_description: Print lines to whoever runs a playbook, whatever the callback
version_added: 1.0.0
author:
  - nous.vm authors (@rmednitzer)
description:
  - Prints lines, one below the other as they are. A callback that hides what is not changed hides M(ansible.builtin.debug) too, and others print its message
    as JSON.
  - Where the callback writes JSON, the lines go to standard error. What is not printable is printed escaped; a line has at most 400 characters, and there are
    at most 1000.
extends_documentation_fragment:
  - nous.vm.attributes
  - nous.vm.attributes.action
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
options:
  lines:
    description:
      - What to print.
    type: list
    elements: str
    default: []
  rows:
    description:
      - Rows of a health check, printed as a table below O(lines), red, yellow or green by their C(status).
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Print who may use the server
  nous.vm.show:
    lines: "{{ clients.stdout_lines }}"
"""

RETURN = r"""
lines:
  description: What was printed.
  returned: success
  type: list
  elements: str
failed_rows:
  description: Of the rows whose C(status) is V(fail), part, name and detail.
  returned: success
  type: list
  elements: str
"""
