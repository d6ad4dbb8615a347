#!/usr/bin/python
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: files
short_description: Install a set of files and directories as one transaction
version_added: 1.0.0
author:
  - nous.vm authors (@rmednitzer)
description:
  - Makes sure that a set of files and directories is there, with content, owner, group and mode, in one execution.
  - Before anything is changed, the set is staged in a private place and shown to the validators of O(validate), if one
    of the files that they name would change. The first that fails ends the run.
  - Then what differs is written beside its place, synced, and moved into place, file by file. If anything fails on the
    way, what was moved is put back as it was, what was made is removed, and the module fails.
  - A file appears under its name complete, with its final owner and mode, or not at all. Runs of one user on a host
    take turns. What a run that was killed left behind, the next one removes, and it reports the path that this was for
    as changed, so that what waits for that path (a reload, say) is not missed.
  - Wrong owner, group or mode alone is mended in place.
  - Something of another kind at a path, a symbolic link too, is rejected. Parents may be symbolic links.
  - Access control lists and extended attributes of a file whose content changes are not carried over.
extends_documentation_fragment:
  - nous.vm.attributes
  - nous.vm.attributes.action
attributes:
  check_mode:
    support: full
    details:
      - Validators run too, on the staged set. One whose program or user the host does not have yet is left out with a
        warning.
      - Serves on a bare host too. A file of an owner or group that is not there yet is staged for root alone.
  diff_mode:
    support: full
    details:
      - Shows content and, where they change, owner, group and mode. Of secret content it shows that it differs.
      - What is new of O(package) is one line, which tells how much that is. A file of it that differs is shown as every other.
options:
  files:
    description:
      - The files and directories. Their order is that in which files are moved into place. Directories are made before,
        wherever they are listed.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description:
          - Absolute path. The directory of a file has to exist or to be in the set. Missing parents of a directory are
            made, for root and with mode V(0755).
        type: path
        required: true
      state:
        description:
          - What is at O(files[].path).
        type: str
        choices: [file, directory]
        default: file
      content:
        description:
          - What is in the file. A file has this, O(files[].secret_content), or a template of one of them.
        type: str
      secret_content:
        description:
          - As O(files[].content), for what nobody may see. It is never shown, returned or logged.
          - It is staged only if a validator that runs names this file. What that validator prints is not shown then.
        type: str
      template:
        description:
          - Name of a template on the controller, found where M(ansible.builtin.template) would find it, that O(files[].content) is rendered from.
        type: path
      secret_template:
        description:
          - As O(files[].template), for O(files[].secret_content).
        type: path
      owner:
        description:
          - Name or number of the owner.
        type: str
        default: root
      group:
        description:
          - Name or number of the group.
        type: str
        default: root
      mode:
        description:
          - Permissions, as four octal digits. Quote the number, lest YAML reads it as decimal.
          - V(0644) for a file and V(0755) for a directory if it is not given.
        type: str
  validate:
    description:
      - Commands that have to succeed before anything is changed. They run in this order, if one of the files that they
        name would be made or changed, be it in owner or mode alone.
    type: list
    elements: dict
    default: []
    suboptions:
      argv:
        description:
          - The command and its arguments. It is not run in a shell.
          - V({/etc/nous/nous.env}), a path of a file of the set in braces, stands for the place where the staged version
            of that file is. All files of the set are there as they will in C(/), under their own names and with their
            final owners and modes. Other braces stay as they are.
        type: list
        elements: str
        required: true
      user:
        description:
          - Name of the user who runs the command, if not the one who runs the module.
          - In check mode, this tells whose absence is no failure; a program such as C(runuser) could not.
        type: str
  byte_compile:
    description:
      - Directory of Python modules. Those in it and below it that lack valid byte code get it after the set was written, from C(/usr/bin/python3).
      - Byte code is a cache. It is neither a change nor shown in check mode, and that it could not be made is a warning.
    type: path
  package:
    description:
      - Subpackages of the host's package, for example V(deploy). The set begins with its core, these subpackages, the command C(nous-vm) and the completion of
        its words in Bash; O(byte_compile) is where it lies, unless it is given.
    type: list
    elements: str
  seen:
    description:
      - The C(identity) that M(nous.vm.validate) returned in this run of C(ansible-playbook). If the whole set was on the host when that looked, nothing is
        executed there.
      - Anything else, also what cannot be told from it, executes the module with the whole set.
    type: str
seealso:
  - module: nous.vm.validate
  - module: ansible.builtin.copy
  - module: ansible.builtin.template
"""

EXAMPLES = r"""
- name: A service and its timer, both or none, as systemd understands them
  nous.vm.files:
    files:
      - path: /etc/backup
        state: directory
        mode: "0750"
      - path: /etc/backup/environment
        secret_content: "PASSWORD={{ backup_password }}\n"
        mode: "0600"
      - path: /etc/systemd/system/backup.service
        template: backup.service.j2
      - path: /etc/systemd/system/backup.timer
        template: backup.timer.j2
    validate:
      - argv: [systemd-analyze, verify, "{/etc/systemd/system/backup.service}", "{/etc/systemd/system/backup.timer}"]
  register: backup

- name: Let systemd read them
  ansible.builtin.systemd_service:
    name: backup.timer
    enabled: true
    state: started
    daemon_reload: "{{ backup is changed }}"

- name: A configuration that its own program accepts, asked as the user that will read it
  nous.vm.files:
    files:
      - path: /etc/caddy/Caddyfile
        template: Caddyfile.j2
        group: caddy
        mode: "0640"
    validate:
      - argv: [caddy, validate, --config, "{/etc/caddy/Caddyfile}"]
        user: caddy
"""

RETURN = r"""
changed_paths:
  description: What was made or changed, directories first; in check mode, what would be.
  returned: success
  type: list
  elements: str
  sample: [/etc/systemd/system/backup.service]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nous.vm.plugins.module_utils._byte_code import compile_modules
from ansible_collections.nous.vm.plugins.module_utils._files import FilesError, read_entries, read_validators, write_set

HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"


class FilesModule(AnsibleModule):
    """An AnsibleModule that keeps the contents of files out of the host's log.

    ansible-core logs a list of dictionaries as the text that Python has for it; in that it recognises no secret that has
    a line break or a quote in it.
    """

    def log(self, msg: str, log_args: dict[str, t.Any] | None = None) -> None:
        paths = " ".join(str(entry["path"]) for entry in self.params["files"])
        super().log(f"Invoked with {paths}", log_args={"files": paths})


def take_secrets(module: AnsibleModule) -> list[dict[str, t.Any]]:
    """Return the option files, and leave no secret in what the module returns as its invocation.

    What is secret and a part of what is public at once, as a single letter is, would be masked in the public part too,
    be it a path that somebody waits for.
    """
    given = [dict(entry) for entry in module.params["files"]]
    public = [text for entry in given for text in (entry["path"], entry["content"]) if text]
    for entry in module.params["files"]:
        secret = entry["secret_content"]
        if secret is not None:
            entry["secret_content"] = HIDDEN
            if any(secret in text for text in public):
                module.no_log_values.discard(secret)
    return given


def main() -> None:
    module = FilesModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "state": {"type": "str", "choices": ["file", "directory"], "default": "file"},
                    "content": {"type": "str"},
                    "secret_content": {"type": "str", "no_log": True},
                    # The action plugin's, which does not pass them on; as package and seen.
                    "template": {"type": "path"},
                    "secret_template": {"type": "path", "no_log": False},
                    "owner": {"type": "str", "default": "root"},
                    "group": {"type": "str", "default": "root"},
                    "mode": {"type": "str"},
                },
            },
            "validate": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "argv": {"type": "list", "elements": "str", "required": True},
                    "user": {"type": "str"},
                },
            },
            "byte_compile": {"type": "path"},
            "package": {"type": "list", "elements": "str"},
            "seen": {"type": "str"},
        },
        supports_check_mode=True,
    )
    try:
        entries = read_entries(take_secrets(module))
        validators = read_validators(module.params["validate"], entries)
        outcome = write_set(entries, validators, module.check_mode, module._diff)
    except FilesError as error:
        module.fail_json(msg=str(error))
    modules = module.params["byte_compile"]
    if modules and not module.check_mode and (problem := compile_modules(modules, outcome.changed_paths)):
        outcome.warnings.append(problem)
    for warning in outcome.warnings:
        module.warn(warning)
    module.exit_json(changed=bool(outcome.changed_paths), changed_paths=outcome.changed_paths, diff=outcome.diff)


if __name__ == "__main__":
    main()
