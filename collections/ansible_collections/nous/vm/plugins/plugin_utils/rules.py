# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules that an operator's values are converted by, in one place: a rule converts a value, or says in a sentence what is wrong with it.

Values come typed from YAML, or as text from -e or an INI inventory; what a rule returns is typed and plain. Patterns match a text as a whole, so that a line
feed at its end is a fault.
"""

from __future__ import annotations

import abc
import json
import re
import typing as t
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import yaml

MOST_SHOWN = 120  # characters of a value that a fault shows
TRUE, FALSE = ("true", "yes", "on", "y", "t", "1"), ("false", "no", "off", "n", "f", "0")
CREDENTIALS = re.compile("://.*@", re.DOTALL)
LINE = r"[^\x00-\x1f\x7f\x85\u2028\u2029]*"  # any text on one line


class Fault(t.NamedTuple):
    """What is wrong with a variable. given: what it is now, as in "is null". allowed, example: what it may be; no example if that makes no sense."""

    variable: str
    given: str
    allowed: str
    example: str = ""

    def __str__(self) -> str:
        return f"{self.variable} {self.given}; allowed is {self.allowed}{f', for example {self.example}' if self.example else ''}."


class Wrong(ValueError):
    """A value that a rule does not take; the text says what it is, as in "is null"."""


def plain(value: object) -> t.Any:
    """Return a value without what Ansible hangs on it (tags, laziness, encryption), as Python's own types."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return "".join(value)
    if isinstance(value, (int, float)):
        return float(value) if isinstance(value, float) else int(value)
    if isinstance(value, Mapping):
        return {plain(key): plain(each) for key, each in value.items()}
    if isinstance(value, (Sequence, set, tuple)):
        return [plain(each) for each in value]
    return str(value)


def shown(value: object) -> str:
    """Return a value as a fault shows it: on one line, printable, bounded, text in quotes, and no password of a URL."""
    text = f'"{value}"' if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = CREDENTIALS.sub("://***@", text[: 8 * MOST_SHOWN])
    text = "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


@dataclass(frozen=True, kw_only=True)
class Rule(abc.ABC):
    """What one variable may be. allowed, example: as a fault says them. secret: its value is never shown."""

    allowed: str
    example: str = ""
    secret: bool = False
    required: bool = False

    @abc.abstractmethod
    def type(self) -> str:
        """Return the type that argument specs have for it."""

    @abc.abstractmethod
    def read(self, variable: str, value: object) -> tuple[t.Any, list[Fault]]:
        """Return the value as it is used, and what is wrong with it; with a fault the value is None."""


@dataclass(frozen=True, kw_only=True)
class OneFault(Rule):
    """A rule that finds at most one fault with a value."""

    @abc.abstractmethod
    def convert(self, value: t.Any) -> t.Any:
        """Return the value as it is used; raise Wrong."""

    def read(self, variable: str, value: object) -> tuple[t.Any, list[Fault]]:
        try:
            if value is None:
                raise Wrong("is null")
            return self.convert(plain(value)), []
        except Wrong as wrong:
            given = "has a value that is not shown" if self.secret and str(wrong) != "is null" else str(wrong)
            return None, [Fault(variable, given, self.allowed, self.example)]


@dataclass(frozen=True, kw_only=True)
class Text(OneFault):
    """Text that a pattern matches as a whole, and that a function accepts. path: it is one of the host's or the controller's file system."""

    pattern: str = LINE
    accept: Callable[[str], bool] | None = None
    choices: tuple[str, ...] = ()
    path: bool = False

    def type(self) -> str:
        return "path" if self.path else "str"

    def convert(self, value: t.Any) -> str:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise Wrong(f"is {shown(value)}")
        text = str(value)
        if not text and not re.fullmatch(self.pattern, ""):
            raise Wrong("is empty")
        if not re.fullmatch(self.pattern, text) or (self.choices and text not in self.choices) or (self.accept and not self.accept(text)):
            raise Wrong(f"is {shown(text)}")
        return text


@dataclass(frozen=True, kw_only=True)
class Number(OneFault):
    """A whole number, or any with whole=False, within bounds; None for no bound."""

    least: float | None = None
    most: float | None = None
    whole: bool = True
    choices: tuple[int, ...] = ()

    def type(self) -> str:
        return "int" if self.whole else "float"

    def convert(self, value: t.Any) -> float:
        number = self.number(value)
        below = self.least is not None and number < self.least
        above = self.most is not None and number > self.most
        if below or above or (self.choices and number not in self.choices):
            raise Wrong(f"is {shown(value)}")
        return number

    def number(self, value: t.Any) -> float:
        """Return the number that a value is, or stands for as text; raise Wrong."""
        form = "[+-]?[0-9]{1,18}" if self.whole else "[+-]?[0-9]{1,18}([.][0-9]{1,18})?"
        whole = isinstance(value, float) and value.is_integer()
        if isinstance(value, bool) or not re.fullmatch(form, str(int(value) if whole else value)):
            raise Wrong(f"is {shown(value)}")
        return int(value) if self.whole else float(value)


@dataclass(frozen=True, kw_only=True)
class Flag(OneFault):
    """true or false, in any of the words that YAML and INI have for them."""

    allowed: str = "true or false"
    example: str = ""

    def type(self) -> str:
        return "bool"

    def convert(self, value: t.Any) -> bool:
        word = str(value).lower()
        if isinstance(value, (str, bool, int)) and word in TRUE + FALSE:
            return word in TRUE
        raise Wrong(f"is {shown(value)}")


@dataclass(frozen=True, kw_only=True)
class List(OneFault):
    """A list whose elements all have one rule. Text is YAML or JSON, or what it has between commas."""

    element: Rule
    least: int = 0
    unique: bool = False

    def type(self) -> str:
        return "list"

    def convert(self, value: t.Any) -> list[t.Any]:
        given = listed(value) if isinstance(value, str) else value
        if not isinstance(given, list):
            raise Wrong(f"is {shown(value)}")
        if len(given) < self.least:
            raise Wrong("is empty" if not given else f"is {shown(given)}")
        converted, wrong = [], []
        for each in given:
            found, faults = self.element.read("", each)
            converted.append(found)
            wrong += [shown(each)] if faults else []
        if wrong:
            raise Wrong(f"has {' and '.join(wrong)}")
        twice = sorted({shown(each) for each in converted if converted.count(each) > 1})
        if self.unique and twice:
            raise Wrong(f"has {' and '.join(twice)} twice")
        return converted


@dataclass(frozen=True, kw_only=True)
class Dict(Rule):
    """A mapping. options: the rules of the keys that it may have, by name; or key and value: the rules of any of them. Text is YAML or JSON."""

    options: Mapping[str, Rule] = field(default_factory=dict)
    key: Rule | None = None
    value: Rule | None = None

    def type(self) -> str:
        return "dict"

    def read(self, variable: str, value: object) -> tuple[t.Any, list[Fault]]:
        """As all rules, but with a fault for each key."""
        given = structure(plain(value)) if isinstance(value, str) else plain(value)
        if not isinstance(given, dict):
            # A mapping may be of secrets, and text that is none may be one of them.
            is_now = "is null" if value is None else "is text that is no mapping" if isinstance(given, str) else f"is {shown(given)}"
            return None, [Fault(variable, is_now if not self.secret or value is None else "is no mapping", self.allowed, self.example)]
        converted, faults = {}, []
        for name, each in given.items():
            rule = self.options.get(str(name), self.value)
            if rule is None or (self.key and self.key.read("", name)[1]):
                faults.append(Fault(variable, f"has the name {shown(name)}", self.allowed, self.example))
                continue
            converted[str(name)], wrong = rule.read(variable, each)
            faults += [fault._replace(given=re.sub("^(is|has) ", f"sets {name} to ", fault.given)) for fault in wrong]
        return (None, faults) if faults else (converted, [])


def structure(text: str) -> t.Any:
    """Return what a text stands for, as YAML (and with it JSON) has it; the text itself if it is none."""
    try:
        return plain(yaml.safe_load(text))
    except (yaml.YAMLError, ValueError, RecursionError):
        return text


def listed(text: str) -> t.Any:
    """Return the list that a text stands for: YAML, JSON, or what is between commas."""
    if text.lstrip().startswith(("[", "- ", "{")):
        return structure(text)
    return [each.strip(" ") for each in text.split(",")] if text else []
