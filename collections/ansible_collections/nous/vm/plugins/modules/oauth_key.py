#!/usr/bin/python
# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: oauth_key
short_description: Make a private signing key once, prove it ever after, publish its public half and rotate it
version_added: 1.0.0
author:
  - nous.vm authors (@rmednitzer)
description:
  - Makes the private key that an OAuth 2 or OpenID issuer signs its tokens with, as unencrypted PKCS#8 PEM, if there
    is none at O(path), and publishes its public half as a JWK set (RFC 7517) at O(jwks_path).
  - B(An existing key is never replaced), but by a rotation that is requested with O(rotation). It is parsed, compared
    with O(algorithm), and proven by a signature that is made and verified. What cannot be trusted is left as it is,
    and the module fails with one sentence on what was found and what to do. That is so for a key that is
    corrupt, encrypted, or for another algorithm, for anything but a plain file with one name (symbolic or hard link,
    FIFO, directory), and for a directory in which somebody else could swap the key. A sticky directory is no such, as
    long as the key in it belongs to O(owner), to root or to who runs the module.
  - Wrong owner or mode alone is mended and reported as changed, with a warning if the key was open to more than was
    requested.
  - A file appears under its name, or changes, complete, synced to the disk, and with its final owner and mode, or not
    at all. Any number of runs at the same time make one key, and one of them reports it as changed. What a run that
    was killed left behind, the next one clears.
  - The directories of both files are this module's to make, so that no task is needed for them. If that of the key is
    missing, it gets O(owner), O(group) and mode V(0700), or V(0750) if O(mode) lets the group read. That of the set,
    and missing parents of both, belong to the user who runs the module, commonly root, with mode V(0755). Directories
    that are there are never modified.
  - Nothing that is private is ever returned, shown in a diff, logged or part of an error.
requirements:
  - python3-cryptography of the distribution, 41.0.7 or newer
extends_documentation_fragment:
  - nous.vm.attributes
  - nous.vm.attributes.action
attributes:
  check_mode:
    support: full
    details:
      - Serves on a bare host too, where neither directory, O(owner), O(group) nor the cryptography library is there.
        Without the library an existing key cannot be proven nor its publication be compared, which is reported in a
        warning; its RV(kid) and RV(fingerprint) are null then.
  diff_mode:
    support: full
    details:
      - Shows algorithm, key ID, owner, group and mode of each key, and what is published until when.
  idempotent:
    support: full
    details:
      - With O(rotation=begin) that is so for O(minimum_interval_days).
options:
  path:
    description:
      - Absolute path of the private key, without symbolic links on the way.
      - The directory has to be on a local file system, one with locks and hard links.
      - While a rotation is under way, the next key is beside it, with C(.next) behind its name.
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
      - A rotation may change it. Outside of one, a key for another algorithm is rejected.
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
  jwks_path:
    description:
      - Absolute path of the JWK set that publishes the key, without symbolic links on the way. Without it nothing is
        published, and there is no rotation.
      - Each key in it has a C(kid) by RFC 7638, C(use) and C(alg). An old key has C(exp) too, the time in seconds from
        which it may be taken away. Who does not know that member ignores it (RFC 7517, section 4).
      - The set is this module's alone. A key in it that is neither that at O(path) nor the next one counts as an old
        key.
      - If it is lost, it is made anew from what is at O(path), without the old keys.
    type: path
  jwks_owner:
    description:
      - Name or number of the user who owns the set.
    type: str
    default: root
  jwks_group:
    description:
      - Name or number of the group of the set, for example that of the web server which hands it out.
    type: str
    default: root
  jwks_mode:
    description:
      - Permissions of the set.
    type: str
    choices: ["0400", "0440", "0444", "0600", "0640", "0644"]
    default: "0640"
  rotation:
    description:
      - What to do about the key's successor. Every step can be repeated after a crash, because the state is in the
        files themselves.
      - Between V(begin) and V(finish) the service has to be restarted, because it keeps the key that it loaded at its
        start. RV(restart_needed) tells whether it has to. The playbook C(nous.vm.rotate_key) does all three.
    type: str
    choices:
      keep: Never publish, activate or retire another key than the one at O(path).
      begin: >-
        Retire old keys whose time is over. Then, if the key is at least O(minimum_interval_days) old or an earlier
        V(begin) was interrupted, make the next key, publish it beside the one that signs, and only then let it take
        O(path). The key before it stays published; its private half is gone.
      finish: >-
        Say that the service was restarted since. Old keys that have no end yet get one, O(overlap_days) from now, and
        those whose time is over are taken away.
    default: keep
  overlap_days:
    description:
      - How long an old key stays published after the service was restarted, in days. One more than the longest life of
        a token that was signed with it.
      - Lowering it shortens the time of old keys that have an end already, with the next V(finish); raising it does
        not prolong theirs. With V(0) they are taken away at once, which is for a key that somebody stole.
    type: int
    default: 31
  minimum_interval_days:
    description:
      - Days for which a key is left in place after it was made or put to use, so that a rotation that is requested twice
        happens once.
    type: int
    default: 7
  rotate_after_days:
    description:
      - Age in days from which RV(rotation_due) is true. Nothing else comes of it.
    type: int
    default: 365
  seen:
    description:
      - The C(identity) that M(nous.vm.validate) returned in this run of C(ansible-playbook). If the key set was proven then, and is as requested, nothing is
        executed on the host.
    type: str
seealso:
  - module: nous.vm.oauth_key_info
    description: Says the same of a key set and changes nothing.
  - module: community.crypto.openssl_privatekey
    description: Makes keys of many more kinds, and makes them anew if they are not as requested.
  - name: JSON Web Key (JWK) Thumbprint
    description: RFC 7638, by which the key ID is made.
    link: https://www.rfc-editor.org/rfc/rfc7638
  - name: Rotation of asymmetric signing keys
    description: OpenID Connect Core 1.0, section 10.1.1. Who meets a C(kid) that it does not know fetches the set again.
    link: https://openid.net/specs/openid-connect-core-1_0.html#RotateSigKeys
  - name: systemd credentials
    description: How a service that runs without privileges gets to read a key that only root can read.
    link: https://systemd.io/CREDENTIALS/
"""

EXAMPLES = r"""
- name: Make sure that there is an Ed25519 key that only root can read
  nous.vm.oauth_key:
    path: /etc/nous/keys/signing.pem

- name: Make sure that there is a key for clients that know RSA only, and that the web server can hand out its public half
  nous.vm.oauth_key:
    path: /etc/issuer/keys/signing.pem
    algorithm: RS256
    size: 4096
    jwks_path: /etc/issuer/jwks.json
    jwks_group: www-data
  register: signing_key

- name: Show which key it is
  ansible.builtin.debug:
    msg: "{{ signing_key.path }} signs {{ signing_key.alg }} as {{ signing_key.kid }}"

# A rotation, which the playbook nous.vm.rotate_key does for a host of this collection. All of it can be run again.
- name: Publish a new key, and only then let it take the place of the old one
  nous.vm.oauth_key:
    path: /etc/issuer/keys/signing.pem
    algorithm: RS256
    jwks_path: /etc/issuer/jwks.json
    jwks_group: www-data
    rotation: begin
    minimum_interval_days: 30
  register: signing_key

- name: Have the service load it
  ansible.builtin.systemd_service:
    name: issuer.service
    state: restarted
  when: signing_key.restart_needed

- name: Say until when the old key stays published
  nous.vm.oauth_key:
    path: /etc/issuer/keys/signing.pem
    algorithm: RS256
    jwks_path: /etc/issuer/jwks.json
    jwks_group: www-data
    rotation: finish
    overlap_days: 31
"""

RETURN = r"""
path:
  description: Path of the private key.
  returned: success
  type: str
  sample: /etc/nous/keys/signing.pem
jwks_path:
  description: Path of the JWK set. Null if nothing is published.
  returned: success
  type: str
  sample: /etc/nous/jwks.json
alg:
  description: The JWS algorithm that the key signs with (RFC 7518, RFC 8037).
  returned: success
  type: str
  sample: EdDSA
kid:
  description:
    - The key ID, which is the SHA-256 thumbprint of the public key as a JWK (RFC 7638).
    - Null in check mode if the key would be a new one, or if there is no library to read it with.
  returned: success
  type: str
  sample: kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k
fingerprint:
  description:
    - SHA-256 of the public key as DER SubjectPublicKeyInfo, in hexadecimal. It is what
      C(openssl pkey -in PATH -pubout -outform DER | sha256sum) prints.
    - Null in check mode if the key would be a new one, or if there is no library to read it with.
  returned: success
  type: str
  sample: 06e3fd8fda29bb60ab59557de61edb0aecdb231134be30e75b455f8e1b792fa9
created:
  description:
    - When the key was made or, by a rotation, put to use, in UTC, by the modification time of its file.
    - Null in check mode if the key would be a new one.
  returned: success
  type: str
  sample: "2026-05-20T08:14:05Z"
age_days:
  description: Whole days since RV(created). Null in check mode if the key would be a new one.
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
  description:
    - The keys of the set. Empty if nothing is published.
  returned: success
  type: list
  elements: dict
  contains:
    kid:
      description: Key ID. V((new\)) in check mode for a key that would be made.
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
  description:
    - Whether the set has an old key without an end, because the service may still sign with it. Restart the service, then
      run the module with O(rotation=finish).
  returned: success
  type: bool
  sample: false
actions:
  description:
    - What was done, or in check mode would be done. Empty if nothing was to do.
    - V(create_directory) made the directory of the key or of the set, V(remove_leftovers) removed temporary files of runs
      that were killed, V(create_key) made the key, V(set_permissions) mended an owner, group or mode, V(write_jwks)
      published the key at O(path).
    - Only with O(rotation=begin), V(make_next_key) made the next key, V(publish_key) published it, and V(activate_key) let
      it take O(path). Only with O(rotation=finish), V(date_keys) gave old keys an end. Only with either,
      V(retire_keys) took old keys away.
  returned: success
  type: list
  elements: str
  sample: [create_directory, create_key, write_jwks]
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.nous.vm.plugins.module_utils._oauth_key import KeySpec, ensure_key
from ansible_collections.nous.vm.plugins.module_utils._system_python import respawn_for
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.key.jwk import CRYPTOGRAPHY_ERROR, KeyProblem


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
            "mode": {"type": "str", "choices": ["0400", "0440", "0600", "0640"], "default": "0600"},
            "algorithm": {"type": "str", "choices": ["EdDSA", "ES256", "RS256"], "default": "EdDSA"},
            "size": {"type": "int", "choices": [2048, 3072, 4096], "default": 3072},
            "jwks_path": {"type": "path"},
            "jwks_owner": {"type": "str", "default": "root"},
            "jwks_group": {"type": "str", "default": "root"},
            "jwks_mode": {
                "type": "str",
                "choices": ["0400", "0440", "0444", "0600", "0640", "0644"],
                "default": "0640",
            },
            "rotation": {"type": "str", "choices": ["keep", "begin", "finish"], "default": "keep"},
            "overlap_days": {"type": "int", "default": 31},
            "minimum_interval_days": {"type": "int", "default": 7},
            "rotate_after_days": {"type": "int", "default": 365},
            "seen": {"type": "str"},  # the action plugin's, which does not pass it on
        },
        required_if=[("rotation", "begin", ["jwks_path"]), ("rotation", "finish", ["jwks_path"])],
        supports_check_mode=True,
    )
    if CRYPTOGRAPHY_ERROR is not None:
        respawn_for("cryptography")
    if CRYPTOGRAPHY_ERROR is not None and not module.check_mode:
        module.fail_json(msg=missing_required_lib("cryptography"), exception=CRYPTOGRAPHY_ERROR)
    options = {name: value for name, value in module.params.items() if name != "seen"}
    modes = {option: int(options[option], 8) for option in ("mode", "jwks_mode")}
    try:
        outcome = ensure_key(KeySpec(**{**options, **modes}), module.check_mode)
    except KeyProblem as problem:
        module.fail_json(msg=str(problem))
    for warning in outcome.warnings:
        module.warn(warning)
    module.exit_json(**outcome.result())


if __name__ == "__main__":
    main()
