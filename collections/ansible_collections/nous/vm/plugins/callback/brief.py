# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints a run on one screen."""

from __future__ import annotations

DOCUMENTATION = r"""
name: brief
type: stdout
short_description: A run on one screen
version_added: 1.0.0
author:
  - nous.vm authors (@rmednitzer)
description:
  - Prints what changed, what failed and what a playbook has to say, a line each. Tasks that change nothing or are skipped are counted, not printed; C(-v)
    prints them as P(ansible.builtin.default#callback) does.
  - A task that takes long says that it goes on, after 15 seconds and then every 30.
  - The last lines have, for each host, how many tasks changed something, and how long each role took.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - C(stdout_callback = nous.vm.brief) in C(ansible.cfg), or E(ANSIBLE_STDOUT_CALLBACK)
"""

import json
import threading
import time
import typing as t

import yaml
from ansible import constants
from ansible.plugins.callback.default import CallbackModule as Default

FIRST = 15.0  # seconds after which a task says that it goes on
LATER = 30.0  # and how often from then on
MOST = 20  # lines of what a program printed before it failed
INDENT = " " * 11


def clock(seconds: float) -> str:
    """Return a duration as people read it."""
    return f"{seconds:.1f} s" if seconds < 10 else f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def indented(text: str) -> str:
    """Return text as it stands below the line of its task."""
    return "\n".join(f"{INDENT}{line}" for line in text.splitlines())


def readable(message: t.Any) -> str:
    """Return what debug was told to print as text."""
    if isinstance(message, str):
        return message
    if isinstance(message, list) and all(isinstance(each, str) for each in message):
        return "\n".join(message)
    return yaml.safe_dump(json.loads(json.dumps(message, default=str)), sort_keys=False, allow_unicode=True, width=1000).rstrip()


class CallbackModule(Default):
    """The callback nous.vm.brief."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "nous.vm.brief"

    def __init__(self) -> None:
        super().__init__()
        self._start = time.monotonic()
        self._parts: dict[str, float] = {}  # seconds by role, in the order in which they came
        self._part = self._printed = ""
        self._since = self._start
        self._several = True  # whether a line has the name of its host
        self._going = threading.Event()  # set when the task that is watched is done

    def get_option(self, k: str, hostvars: t.Any = None) -> t.Any:
        """Return an option of the default callback; this one hides what did not change."""
        return False if k in ("display_ok_hosts", "display_skipped_hosts") and self._folds else super().get_option(k, hostvars)

    @property
    def _folds(self) -> bool:
        return bool(self._display.verbosity < 1)

    def _begin(self, part: str) -> None:
        """Let the time from now on be that of a part of the run."""
        now = time.monotonic()
        if self._part:
            self._parts[self._part] = self._parts.get(self._part, 0) + now - self._since
        self._part, self._since = part, now

    def _watch(self, name: str) -> None:
        """Print that a task goes on for as long as it does. Forks are made under the lock of the display that this prints by."""
        self._going.set()
        done = self._going = threading.Event()
        began = time.monotonic()

        def tell() -> None:
            wait = FIRST
            while not done.wait(wait):
                self._print_part()
                self._display.display(f"  ...      {name} goes on, {clock(time.monotonic() - began)}", color=constants.COLOR_SKIP)
                wait = LATER

        threading.Thread(target=tell, daemon=True).start()

    def v2_playbook_on_play_start(self, play: t.Any) -> None:
        if not self._folds:
            super().v2_playbook_on_play_start(play)
        self._play = play
        inventory = getattr(play.get_variable_manager(), "_inventory", None)
        self._several = inventory is None or len(inventory.get_hosts(play.hosts)) > 1
        self._going.set()
        self._begin(play.get_name().strip())

    def _task_start(self, task: t.Any, prefix: str | None = None) -> None:
        super()._task_start(task, prefix)
        role = task._role.get_name() if task._role else ""
        self._begin(role.rpartition(".")[2] or self._play.get_name().strip())
        self._watch(task.get_name().strip().rpartition(" : ")[2])

    def _print_task_banner(self, task: t.Any) -> None:
        """Print where a task is, once, before what it has to say."""
        if not self._folds:
            super()._print_task_banner(task)
            return
        self._print_part()
        self._last_task_banner = task._uuid

    def _print_part(self) -> None:
        """Print the name of the part of the run, once, before the first line of it."""
        if self._part != self._printed:
            self._printed = self._part
            self._display.display(self._part, color=constants.COLOR_HIGHLIGHT)

    def _line(self, result: t.Any, word: str, color: str | None) -> None:
        """Print one line of a task."""
        self._print_task_banner(result.task)
        name = (result.task_name or result.task.get_name()).strip().rpartition(" : ")[2]
        host = f" [{self.host_label(result)}]" if self._several else ""
        self._display.display(f"  {word:<8} {name}{host}", color=color)

    def v2_runner_on_ok(self, result: t.Any) -> None:
        if not self._folds:
            super().v2_runner_on_ok(result)
            return
        found = result.result
        if found.get("changed"):
            self._handle_warnings_and_exception(result)
            self._line(result, "changed", constants.COLOR_CHANGED)
        elif found.get("_ansible_verbose_always") and "msg" in found and not result.task.loop:
            self._line(result, "", None)
            self._display.display(indented(readable(found["msg"])))
        else:
            self._handle_warnings_and_exception(result)

    def v2_runner_item_on_ok(self, result: t.Any) -> None:
        if not self._folds:
            super().v2_runner_item_on_ok(result)
        elif result.result.get("_ansible_verbose_always") and "msg" in result.result:
            self._display.display(indented(readable(result.result["msg"])))

    def _failed(self, result: t.Any, word: str, color: str | None) -> None:
        """Print what went wrong as the task or the program says it, and not as JSON."""
        found = result.result
        self._line(result, word, color)
        self._display.display(indented(readable(found.get("msg") or found.get("censored") or "no message")), color=color)
        for stream in ("stderr", "stdout"):
            lines = str(found.get(stream) or "").splitlines()
            if lines:
                self._display.display(indented("\n".join(lines[-MOST:])))

    def v2_runner_on_failed(self, result: t.Any, ignore_errors: bool = False) -> None:
        if not self._folds:
            super().v2_runner_on_failed(result, ignore_errors)
        elif not (result.task.loop and "results" in result.result):  # of a loop, each item was printed
            self._failed(result, "ignored" if ignore_errors else "FAILED", constants.COLOR_SKIP if ignore_errors else constants.COLOR_ERROR)

    def v2_runner_item_on_failed(self, result: t.Any) -> None:
        if not self._folds:
            super().v2_runner_item_on_failed(result)
        else:
            self._failed(result, "failed", constants.COLOR_ERROR)

    def v2_runner_on_unreachable(self, result: t.Any) -> None:
        if not self._folds:
            super().v2_runner_on_unreachable(result)
        else:
            self._failed(result, "UNREACHABLE", constants.COLOR_UNREACHABLE)

    def v2_playbook_on_include(self, included_file: t.Any) -> None:
        if not self._folds:
            super().v2_playbook_on_include(included_file)

    def v2_playbook_on_stats(self, stats: t.Any) -> None:
        self._going.set()
        self._begin("")
        if not self._folds:
            super().v2_playbook_on_stats(stats)
        self._display.display("")
        failed = False
        for host in sorted(stats.processed):
            found = stats.summarize(host)
            bad = found["failures"] + found["unreachable"] > 0
            failed |= bad
            if host == "localhost" and len(stats.processed) > 1 and not bad and not found["changed"]:
                continue
            words = [f"{found['changed']} changed", f"{found['ok'] - found['changed']} unchanged", f"{found['skipped']} skipped"]
            words += ["UNREACHABLE"] if found["unreachable"] else []
            words += ["FAILED"] if found["failures"] else []
            color = constants.COLOR_ERROR if bad else constants.COLOR_CHANGED if found["changed"] else constants.COLOR_OK
            self._display.display(f"{host}: {', '.join(words)}", color=color)
        if failed and self._folds:
            self._display.display("With -v, all tasks and what they returned are printed.")
        self._display.display(f"{clock(time.monotonic() - self._start)} in all: " + ", ".join(self._durations()))

    def _durations(self) -> list[str]:
        """Return what took a second or more, in the order of the run."""
        return [f"{name} {clock(seconds)}" for name, seconds in self._parts.items() if seconds >= 1] or ["nothing took a second"]
