#!/usr/bin/python
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: oauth_key
short_description: Make a private signing key once, and prove it ever after
version_added: 1.0.0
author:
  - nous.vm authors (@rmednitzer)
description:
  - Makes the private key that an OAuth 2 or OpenID issuer signs its tokens with, as unencrypted PKCS#8 PEM, if there
    is none at O(path).
  - B(An existing key is never replaced.) It is parsed, compared with O(algorithm), and proven by a signature that is
    made and verified. What cannot be trusted is left as it is, and the module fails with one sentence that says what
    was found and what to do. That is so for a key that is corrupt, encrypted, or for another algorithm, for anything
    but a plain file with one name (symbolic or hard link, FIFO, directory), and for a directory in which somebody
    else could swap the key. A sticky directory is no such, as long as the key in it belongs to O(owner), to root or
    to who runs the module.
  - Wrong owner or mode alone is mended and reported as changed, with a warning if the key was open to more than was
    asked for.
  - The key appears under its name complete, synced to the disk, and with its final owner and mode, or not at all. Any
    number of runs at the same time make one key, and one of them reports it as changed. What a run that was killed
    left behind, the next one clears.
  - The directory of the key is this module's to make, so that no task is needed for it. If it is missing, it gets
    O(owner), O(group) and mode V(0700), or V(0750) if O(mode) lets the group read. Its missing parents belong to the
    user who runs the module, commonly root, with mode V(0755). Directories that are there are never modified.
  - Nothing that is private is ever returned, shown in a diff, logged or part of an error.
requirements:
  - python3-cryptography of the distribution, 41.0.7 or newer
attributes:
  check_mode:
    support: full
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    details:
      - Serves on a bare host too, where neither directory, O(owner), O(group) nor the cryptography library is there.
        Without the library an existing key cannot be proven, which is said in a warning; its RV(kid) and
        RV(fingerprint) are null then.
  diff_mode:
    support: full
    description: Will return details on what has changed (or possibly needs changing in check mode), when in diff mode.
    details:
      - Shows algorithm, key ID, owner, group and mode.
  idempotent:
    support: full
    description: When run twice in a row outside check mode, with the same arguments, the second indicates no change.
  platform:
    support: full
    platforms: linux
    description: Target OS/families that can be operated against.
options:
  path:
    description:
      - Absolute path of the private key, without symbolic links on the way.
      - The directory has to be on a local file system, one with locks and hard links.
    type: path
    required: true
  owner:
    description:
      - Name or number of the user who owns the key.
    type: str
    default: root
  group:
    description:
      - Name or number of the group of the key.
    type: str
    default: root
  mode:
    description:
      - Permissions of the key. Quote the number, lest YAML reads it as decimal.
      - A key that others can read, or that its readers can write, is no option.
    type: str
    choices: ["0400", "0440", "0600", "0640"]
    default: "0600"
  algorithm:
    description:
      - The algorithm that the key signs with, by its JWS name.
    type: str
    choices:
      EdDSA: Ed25519 (RFC 8037).
      ES256: ECDSA on the curve P-256 with SHA-256 (RFC 7518).
      RS256: RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518).
    default: EdDSA
  size:
    description:
      - Bits of a new key for V(RS256). Ignored for the other algorithms.
      - A key that is there may be of any size from 2048 bits on.
    type: int
    choices: [2048, 3072, 4096]
    default: 3072
seealso:
  - module: community.crypto.openssl_privatekey
    description: Makes keys of many more kinds, and makes them anew if they are not as asked.
  - name: JSON Web Key (JWK) Thumbprint
    description: RFC 7638, by which the key ID is made.
    link: https://www.rfc-editor.org/rfc/rfc7638
  - name: systemd credentials
    description: How a service that runs without privileges gets to read a key that only root can read.
    link: https://systemd.io/CREDENTIALS/
"""

EXAMPLES = r"""
- name: Make sure that there is an Ed25519 key that only root can read
  nous.vm.oauth_key:
    path: /etc/nous/keys/signing.pem

- name: Make sure that there is a key for clients that know RSA only, and that the issuer's group can read it
  nous.vm.oauth_key:
    path: /etc/issuer/keys/signing.pem
    algorithm: RS256
    size: 4096
    group: issuer
    mode: "0640"
  register: signing_key

- name: Show which key it is
  ansible.builtin.debug:
    msg: "{{ signing_key.path }} signs {{ signing_key.alg }} as {{ signing_key.kid }}"
"""

RETURN = r"""
path:
  description: Path of the private key.
  returned: success
  type: str
  sample: /etc/nous/keys/signing.pem
alg:
  description: The JWS algorithm that the key signs with (RFC 7518, RFC 8037).
  returned: success
  type: str
  sample: EdDSA
kid:
  description:
    - The key ID, which is the SHA-256 thumbprint of the public key as a JWK (RFC 7638).
    - Null in check mode while there is no key, or no library to read it with.
  returned: success
  type: str
  sample: kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k
fingerprint:
  description:
    - SHA-256 of the public key as DER SubjectPublicKeyInfo, in hexadecimal. It is what
      C(openssl pkey -in PATH -pubout -outform DER | sha256sum) prints.
    - Null in check mode while there is no key, or no library to read it with.
  returned: success
  type: str
  sample: 06e3fd8fda29bb60ab59557de61edb0aecdb231134be30e75b455f8e1b792fa9
created:
  description:
    - When the key was made, in UTC, by the modification time of its file.
    - Null in check mode while there is no key.
  returned: success
  type: str
  sample: "2026-05-20T08:14:05Z"
age_days:
  description: Whole days since RV(created). Null in check mode while there is no key.
  returned: success
  type: int
  sample: 17
actions:
  description:
    - What was done, or in check mode would be done, in this order. Empty if nothing was to do.
    - V(create_directory) made the directory of the key, V(remove_leftovers) removed temporary files of runs that were
      killed, V(create_key) made the key, V(set_permissions) mended its owner, group or mode.
  returned: success
  type: list
  elements: str
  sample: [create_directory, create_key]
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.nous.vm.plugins.module_utils._oauth_key import (
    CRYPTOGRAPHY_ERROR,
    KeyProblem,
    KeySpec,
    ensure_key,
)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
            "mode": {"type": "str", "choices": ["0400", "0440", "0600", "0640"], "default": "0600"},
            "algorithm": {"type": "str", "choices": ["EdDSA", "ES256", "RS256"], "default": "EdDSA"},
            "size": {"type": "int", "choices": [2048, 3072, 4096], "default": 3072},
        },
        supports_check_mode=True,
    )
    if CRYPTOGRAPHY_ERROR is not None and not module.check_mode:
        module.fail_json(msg=missing_required_lib("cryptography"), exception=CRYPTOGRAPHY_ERROR)
    try:
        outcome = ensure_key(KeySpec(**{**module.params, "mode": int(module.params["mode"], 8)}), module.check_mode)
    except KeyProblem as problem:
        module.fail_json(msg=str(problem))
    for warning in outcome.warnings:
        module.warn(warning)
    module.exit_json(
        changed=bool(outcome.actions),
        path=module.params["path"],
        alg=module.params["algorithm"],
        kid=outcome.key and outcome.key.kid,
        fingerprint=outcome.key and outcome.key.fingerprint,
        created=outcome.created_utc,
        age_days=outcome.age_days,
        actions=outcome.actions,
        diff={"before": outcome.before, "after": outcome.after},
    )


if __name__ == "__main__":
    main()
