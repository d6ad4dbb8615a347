#!/usr/bin/python
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_info
short_description: Report whose Caddyfile a host has, and what it lacks to take a gateway in
version_added: 1.0.0
author:
  - nous.vm authors (@rmednitzer)
description:
  - Reports what the role C(nous.vm.caddy_gateway) has to know of a host before it changes anything. Needs nothing of that role on the host.
  - With O(content), also reads the host's Caddyfile as Caddy itself understands it, and reports the lines that it lacks to import the gateway's file.
extends_documentation_fragment:
  - nous.vm.attributes.info
options:
  config:
    description:
      - Absolute path of the file that is to be the gateway's own; Caddy's own file, or one that it imports.
    type: path
    default: /etc/caddy/Caddyfile
  content:
    description:
      - What is to be in O(config), where the host's Caddyfile serves other sites too and imports it.
    type: str
  hostname:
    description:
      - Host name that O(content) serves.
    type: str
seealso:
  - module: nous.vm.gateway_probe
    description: Probes the gateway from outside.
"""

EXAMPLES = r"""
- name: Query whose Caddyfile this host has
  nous.vm.gateway_info:
  register: gateway

- name: Reject a port that another program holds
  ansible.builtin.assert:
    that: gateway.port_holders | length == 0

- name: Query what the Caddyfile of other sites lacks
  nous.vm.gateway_info:
    config: /etc/caddy/conf.d/nous.caddy
    content: "{{ lookup('ansible.builtin.template', 'nous.caddy.j2') }}"
    hostname: nous.example.org
  register: gateway
"""

RETURN = r"""
installed:
  description: Whether the distribution's Caddy is installed.
  returned: success
  type: bool
  sample: true
config:
  description: The path O(config).
  returned: success
  type: str
  sample: /etc/caddy/Caddyfile
owner:
  description: >-
    Whose configuration the file is: V(absent), V(ours) (as the role wrote it), V(package) (as the package brought it) or V(foreign).
  returned: success
  type: str
  sample: ours
known_good:
  description: Whether the configuration that is on disk was verified.
  returned: success
  type: bool
  sample: true
served:
  description: Whether Caddy answers, and runs with what is on disk.
  returned: success
  type: bool
  sample: true
list_url:
  description: Where the list of networks is from that was fetched last. Empty if there is none.
  returned: success
  type: str
  sample: https://lists.example.org/vendor.txt
port_holders:
  description: Who else holds the ports 80 and 443, by port. Empty where RV(owner) is V(ours).
  returned: success
  type: dict
  sample: {"80": "nginx (pid 712)"}
lacking:
  description: Why the Caddyfile cannot take O(content) in, with the lines to add. Empty if it can.
  returned: when O(content) is given
  type: str
  sample: ""
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway.estate import lacking
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.gateway.state import state


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "config": {"type": "path", "default": "/etc/caddy/Caddyfile"},
            "content": {"type": "str"},
            "hostname": {"type": "str"},
        },
        required_together=[["content", "hostname"]],
        supports_check_mode=True,
    )
    config, content = Path(module.params["config"]), module.params["content"]
    try:
        found = state(config)
        if content is not None:
            found["lacking"] = lacking(config, content, module.params["hostname"])
    except (NousVmError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
