#!/usr/bin/python
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: oauth_key_info
short_description: Say which key an issuer signs with, how old it is and what is published
version_added: 1.0.0
author:
  - nous.vm authors (@rmednitzer)
description:
  - Reads a key set as M(nous.vm.oauth_key) makes it, proves the key by a signature that is made and verified, and changes
    nothing.
  - Fails, like that module, when what is at O(path) or O(jwks_path) cannot be trusted. Owner and mode are not judged.
  - Nothing that is private is ever returned, logged or part of an error.
requirements:
  - python3-cryptography of the distribution, 41.0.7 or newer
extends_documentation_fragment:
  - nous.vm.attributes.info
options:
  path:
    description:
      - Absolute path of the private key, without symbolic links on the way.
    type: path
    required: true
  jwks_path:
    description:
      - Absolute path of the JWK set that publishes it, without symbolic links on the way.
    type: path
  rotate_after_days:
    description:
      - Age in days from which RV(rotation_due) is true.
    type: int
    default: 365
seealso:
  - module: nous.vm.oauth_key
    description: Makes, publishes and rotates the key.
"""

EXAMPLES = r"""
- name: Look at the signing key
  nous.vm.oauth_key_info:
    path: /etc/nous/keys/signing.pem
    jwks_path: /etc/nous/jwks.json
  register: signing_key

- name: Say that it should be rotated
  ansible.builtin.debug:
    msg: "{{ signing_key.kid }} is {{ signing_key.age_days }} days old: run nous.vm.rotate_key"
  when: signing_key.rotation_due
"""

RETURN = r"""
exists:
  description: Whether there is a key at O(path). If not, the values about it are null.
  returned: success
  type: bool
  sample: true
path:
  description: Path of the private key.
  returned: success
  type: str
  sample: /etc/nous/keys/signing.pem
jwks_path:
  description: Path of the JWK set. Null if it was not given.
  returned: success
  type: str
  sample: /etc/nous/jwks.json
alg:
  description: The JWS algorithm that the key signs with (RFC 7518, RFC 8037).
  returned: success
  type: str
  sample: EdDSA
kid:
  description: The key ID, which is the SHA-256 thumbprint of the public key as a JWK (RFC 7638).
  returned: success
  type: str
  sample: kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k
fingerprint:
  description: SHA-256 of the public key as DER SubjectPublicKeyInfo, in hexadecimal.
  returned: success
  type: str
  sample: 06e3fd8fda29bb60ab59557de61edb0aecdb231134be30e75b455f8e1b792fa9
created:
  description: When the key was made or, by a rotation, put to use, in UTC.
  returned: success
  type: str
  sample: "2026-05-20T08:14:05Z"
age_days:
  description: Whole days since RV(created).
  returned: success
  type: int
  sample: 17
rotation_due:
  description: Whether the key is O(rotate_after_days) old.
  returned: success
  type: bool
  sample: false
next_kid:
  description: Key ID of the next key. Null if there is none, as long as no rotation was interrupted.
  returned: success
  type: str
  sample: null
published:
  description: The keys of the set. Empty if there is none.
  returned: success
  type: list
  elements: dict
  contains:
    kid:
      description: Key ID.
      type: str
      sample: kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k
    alg:
      description: Its JWS algorithm.
      type: str
      sample: EdDSA
    until:
      description: From when an old key may be taken away, in UTC. Null for one that has no end.
      type: str
      sample: null
restart_needed:
  description: Whether a rotation was not finished, so that the service may still sign with an old key.
  returned: success
  type: bool
  sample: false
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.nous.vm.plugins.module_utils._oauth_key import examine_key
from ansible_collections.nous.vm.plugins.module_utils._system_python import respawn_for
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key.jwk import CRYPTOGRAPHY_ERROR, KeyProblem


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "jwks_path": {"type": "path"},
            "rotate_after_days": {"type": "int", "default": 365},
        },
        supports_check_mode=True,
    )
    if CRYPTOGRAPHY_ERROR is not None:
        respawn_for("cryptography")
    if CRYPTOGRAPHY_ERROR is not None:
        module.fail_json(msg=missing_required_lib("cryptography"), exception=CRYPTOGRAPHY_ERROR)
    try:
        outcome = examine_key(**module.params)
    except KeyProblem as problem:
        module.fail_json(msg=str(problem))
    module.exit_json(changed=False, exists=outcome.key is not None, **outcome.facts())


if __name__ == "__main__":
    main()
