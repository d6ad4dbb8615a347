#!/usr/bin/python
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: append_only
short_description: Files that can only grow, and their directory
version_added: 1.0.0
author:
  - nous.vm authors (@rmednitzer)
description:
  - Makes sure that a directory and a list of files in it exist with owner, group and mode, and that the files have the
    append-only flag (C(chattr +a), ioctl_iflags(2)), all in one execution. A file that exists keeps its content.
  - Before anything is made, it is tried whether the file system takes the flag; one that does not
    is rejected with its name. Files that have the flag already are proof enough.
  - Owner and mode of a file cannot be changed while it has the flag. The module lifts the flag for that moment, but
    only if no process holds the file open for writing; otherwise it fails and names the processes. So it does where a
    file without the flag is held open for writing but not for appending, because that process could overwrite the file
    ever after.
  - A path that is a symbolic link, or a file that has a second name, is rejected.
extends_documentation_fragment:
  - nous.vm.attributes
attributes:
  check_mode:
    support: full
    details:
      - Serves on a bare host too, where O(group) or O(path) is not there yet.
  diff_mode:
    support: full
    details:
      - Shows kind, owner, group, mode and flag.
options:
  path:
    description:
      - Absolute path of the directory. Missing parents are made.
    type: path
    required: true
  directory_mode:
    description:
      - Mode of the directory, octal. Its owner and group are those of the files. Whoever can write in it can swap
        what is in it, so let that be O(owner) alone.
    type: str
    default: "0750"
  files:
    description:
      - Names of the files in the directory.
    type: list
    elements: str
    required: true
  owner:
    description:
      - Owner of directory and files, by name. If it is not the writer, the writer cannot change their mode.
    type: str
    default: root
  group:
    description:
      - Group of directory and files, by name; commonly the writer's.
    type: str
    required: true
  mode:
    description:
      - Mode of the files, octal.
    type: str
    default: "0660"
"""

EXAMPLES = r"""
- name: An audit log that its service can append to, and do nothing else
  nous.vm.append_only:
    path: /var/log/nous
    files: [audit.jsonl, audit-anchors.jsonl]
    group: nous
"""

RETURN = r"""
changed_paths:
  description: What was made or mended; in check mode, what would be.
  returned: success
  type: list
  elements: str
  sample: [/var/log/nous/audit.jsonl]
"""

import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nous.vm.plugins.module_utils._append_only import Desired, ensure
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "directory_mode": {"type": "str", "default": "0750"},
            "files": {"type": "list", "elements": "str", "required": True},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "required": True},
            "mode": {"type": "str", "default": "0660"},
        },
        supports_check_mode=True,
    )
    given = module.params
    for name in ("directory_mode", "mode"):
        if not re.fullmatch("0?[0-7]{3}", given[name]):
            module.fail_json(msg=f'{name} is "{given[name]}"; allowed are three octal digits, for example "0660".')
    if not os.path.isabs(given["path"]):
        module.fail_json(msg=f'path is "{given["path"]}"; allowed is an absolute path, for example /var/log/nous.')
    for name in given["files"]:
        if name in ("", ".", "..") or "/" in name:
            module.fail_json(msg=f'files has "{name}"; allowed is the name of a file in {given["path"]}, for example audit.jsonl.')

    owner, group = given["owner"], given["group"]
    directory = Desired(given["path"], owner, group, int(given["directory_mode"], 8), directory=True)
    files = [Desired(os.path.join(given["path"], name), owner, group, int(given["mode"], 8)) for name in given["files"]]
    try:
        changes = ensure(directory, files, module.check_mode)
    except NousVmError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error.filename or given['path']}: {error.strerror}.")
    diff = [{"before_header": path, "after_header": path, "before": before, "after": after} for path, before, after in changes]
    module.exit_json(changed=bool(changes), changed_paths=[path for path, _before, _after in changes], diff=diff)


if __name__ == "__main__":
    main()
