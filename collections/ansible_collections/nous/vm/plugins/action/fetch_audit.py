# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fetches the evidence of an audit log piece by piece and verifies it here."""

from __future__ import annotations

import base64
import typing as t
import zlib
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.nous.vm.plugins.module_utils.nous_vm.errors import NousVmError
from ansible_collections.nous.vm.plugins.plugin_utils.evidence import PIECE, fetch
from ansible_collections.nous.vm.plugins.plugin_utils.rules import plain

OPTIONS = {"name": {"type": "str", "default": "nous"}, "directory": {"type": "path", "required": True}}


class ActionModule(ActionBase):
    """The action of nous.vm.fetch_audit."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        result: dict[str, t.Any] = super().run(tmp, task_vars)
        _validation, given = self.validate_argument_spec(argument_spec=OPTIONS)
        if not given["directory"].startswith("/"):
            raise AnsibleActionFail(
                f"directory is {given['directory']}; allowed is an absolute path of this controller, for example /srv/audit/nous.example.org."
            )

        def ask(**arguments: t.Any) -> dict[str, t.Any]:
            answer = self._execute_module(module_name="nous.vm.audit_evidence", module_args={"name": given["name"], **arguments}, task_vars=task_vars)
            if answer.get("failed"):
                raise AnsibleActionFail(str(answer.get("msg")))
            return t.cast("dict[str, t.Any]", plain(answer))

        def read(key: str, start: int, size: int) -> bytes:
            content = ask(piece={"key": key, "start": start, "size": size})["content"]
            return b"" if content is None else zlib.decompressobj().decompress(base64.b64decode(content), PIECE)

        try:
            update, key = fetch(Path(given["directory"]), ask, read, self._task.check_mode)
            parts = [] if self._task.check_mode else update.copy.verify()
        except (NousVmError, OSError) as error:
            raise AnsibleActionFail(f"{error}") from None
        return result | {
            "changed": bool(update.fetched) or key.startswith("pinned"),
            "fetched": update.fetched,
            "differs": update.differs,
            "key": key,
            "parts": parts,
            "whole": not update.differs and all(each["whole"] for each in parts),
        }
