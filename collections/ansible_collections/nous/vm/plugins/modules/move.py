#!/usr/bin/python
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: move
short_description: Move files and folders, and lose none
version_added: 1.0.0
author:
  - nous.vm authors (@rmednitzer)
description:
  - Moves files and folders, with owners, modes and times, all in one execution. What is not there is left out, so that a second run changes nothing.
  - Nothing is ever overwritten. If there is something at the new path, what is moved gets that name with C(~1) at its end, or the next number that is free.
  - Within one file system a move is one rename. To another one it is a copy that is complete and on the disk before the first is removed, so that
    a run that was interrupted can be repeated.
  - A file that is append-only or immutable is moved too, and does not have these flags at its new path.
extends_documentation_fragment:
  - nous.vm.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details:
      - Shows the path before and after.
options:
  moves:
    description:
      - The new absolute path of each, by its absolute path. Folders that it needs are made, with mode V(0755).
    type: dict
    required: true
  private:
    description:
      - A folder that root alone may enter, for what is moved below it. It is made if something is moved.
    type: path
seealso:
  - module: ansible.builtin.copy
"""

EXAMPLES = r"""
- name: Set a unit aside
  nous.vm.move:
    moves:
      /etc/systemd/system/old.service: /var/lib/nous-vm/adopted/20261128T100000Z/etc/systemd/system/old.service
    private: /var/lib/nous-vm/adopted
"""

RETURN = r"""
moved:
  description: The new path of all that was moved, by the path before; in check mode, of what would be.
  returned: success
  type: dict
  sample: {/etc/logrotate.d/nous: /var/lib/nous-vm/adopted/20261128T100000Z/etc/logrotate.d/nous}
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nous.vm.plugins.module_utils._move import move_all
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError


def main() -> None:
    module = AnsibleModule(
        argument_spec={"moves": {"type": "dict", "required": True}, "private": {"type": "path"}},
        supports_check_mode=True,
    )
    moves = module.params["moves"]
    for path in [*moves, *moves.values()]:
        if not isinstance(path, str) or not os.path.isabs(path) or os.path.normpath(path) != path:
            module.fail_json(msg=f'moves has "{path}"; allowed is an absolute path without a detour, for example /etc/logrotate.d/nous.')
    try:
        moved = move_all(moves, module.params["private"], module.check_mode)
    except NousVmError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename}: {error.strerror}.")
    diff = [{"before_header": path, "after_header": new, "before": f"{path}\n", "after": f"{new}\n"} for path, new in moved.items()]
    module.exit_json(changed=bool(moved), moved=moved, diff=diff)


if __name__ == "__main__":
    main()
