# Copyright (c) 2026, nous.vm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules convert a value, however it comes, or say in a sentence what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.nous.vm.plugins.plugin_utils.rules import Dict, Fault, Flag, List, Number, Rule, Text, plain, shown

WORD = Text(pattern="[a-z]+", allowed="a word", example="word")
WORDS = List(element=WORD, least=1, unique=True, allowed="a list of words", example="[word]")
MAP = Dict(
    options={"A": Number(least=1, most=9, allowed="1 to 9", example="5"), "B": Flag(), "S": Text(secret=True, pattern="(?=.)[^\n]*", allowed="a secret")},
    allowed="a mapping",
    example="{A: 1}",
)
PATHS = Dict(key=Text(pattern="[a-z]+", allowed="a name"), value=Text(pattern="/[a-z]+", allowed="a path"), allowed="a mapping of paths", example="{a: /b}")


def value(rule: Rule, given: object) -> Any:
    found, faults = rule.read("x", given)
    assert faults == []
    return found


def fault(rule: Rule, given: object) -> str:
    found, faults = rule.read("x", given)
    assert found is None
    return "\n".join(map(str, faults))


def test_a_fault_names_variable_value_what_is_allowed_and_an_example() -> None:
    assert fault(WORD, "A b") == 'x is "A b"; allowed is a word, for example word.'
    assert str(Fault("x", "is y", "z")) == "x is y; allowed is z."


@pytest.mark.parametrize("given", [True, "yes", "Yes", "on", "true", "TRUE", "y", "t", "1", 1])
def test_true(given: object) -> None:
    assert value(Flag(), given) is True


@pytest.mark.parametrize("given", [False, "no", "No", "off", "false", "n", "f", "0", 0])
def test_false(given: object) -> None:
    assert value(Flag(), given) is False


@pytest.mark.parametrize("given", ["", "maybe", "no\n", 2, 0.5, [], {}, "None"])
def test_neither_true_nor_false(given: object) -> None:
    assert fault(Flag(), given) == f"x is {shown(given)}; allowed is true or false."


WHOLE = Number(least=1, most=9, allowed="1 to 9", example="5")
ANY = Number(least=0.01, most=100, whole=False, allowed="up to 100", example="1")


@pytest.mark.parametrize(("rule", "given", "expected"), [(WHOLE, 5, 5), (WHOLE, "5", 5), (WHOLE, 5.0, 5), (ANY, "0.5", 0.5), (ANY, 1, 1.0), (ANY, 0.01, 0.01)])
def test_numbers(rule: Rule, given: object, expected: float) -> None:
    found = value(rule, given)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize("given", [0, 10, "10", 5.5, "5.5", "five", "5\n", " 5", "", True, [5], "0x5", "\u0665", 10**30])
def test_no_such_number(given: object) -> None:
    assert fault(WHOLE, given).endswith("; allowed is 1 to 9, for example 5.")


@pytest.mark.parametrize("given", [0, 100.1, "nan", "inf", "1e3", float("nan"), float("inf")])
def test_no_such_fraction(given: object) -> None:
    assert fault(ANY, given).endswith("; allowed is up to 100, for example 1.")


def test_a_number_among_some() -> None:
    rule = Number(choices=(2048, 3072), allowed="one of 2048, 3072")
    assert value(rule, "2048") == 2048
    assert fault(rule, 1024) == "x is 1024; allowed is one of 2048, 3072."


@pytest.mark.parametrize(("given", "text"), [("b", "b"), (7, "7"), (0.5, "0.5")])
def test_text(given: object, text: str) -> None:
    assert value(Text(pattern="[a-z0-9.]+", allowed="text"), given) == text


@pytest.mark.parametrize(
    ("given", "is_now"),
    [
        ("a\n", r'is "a\n"'),
        ("", "is empty"),
        (None, "is null"),
        (True, "is true"),
        (["a"], 'is ["a"]'),
        ("\x1b[2J", r'is "\x1b[2J"'),
        ("z" * 500, 'is "' + "z" * 119 + "..."),
        ("https://ada:canary@example.org/", 'is "https://***@example.org/"'),
        ("https://ada:ca/na@ry@example.org/", 'is "https://***@example.org/"'),
    ],
)
def test_no_such_text(given: object, is_now: str) -> None:
    assert fault(Text(pattern="[a-y]+", allowed="a to y", example="b"), given) == f"x {is_now}; allowed is a to y, for example b."


def test_one_of_some_words_and_what_a_function_accepts() -> None:
    assert fault(Text(choices=("a", "b"), allowed="a or b"), "c") == 'x is "c"; allowed is a or b.'
    assert fault(Text(accept=str.isupper, allowed="A"), "c") == 'x is "c"; allowed is A.'
    assert value(Text(choices=("a", "b"), accept=str.islower, allowed="a"), "b") == "b"


@pytest.mark.parametrize("given", ["canary", "canary\n", "", ["canary"], 7])
def test_a_secret_is_never_shown(given: object) -> None:
    rule = Text(secret=True, pattern="nothing", allowed="a secret")
    assert fault(rule, given) == "x has a value that is not shown; allowed is a secret."
    assert fault(rule, None) == "x is null; allowed is a secret."


@pytest.mark.parametrize("given", [["a", "b"], '["a", "b"]', "[a, b]", "- a\n- b", "a,b", "a, b"])
def test_lists(given: object) -> None:
    assert value(WORDS, given) == ["a", "b"]


@pytest.mark.parametrize(
    ("given", "is_now"),
    [
        ([], "is empty"),
        ("", "is empty"),
        ("[]", "is empty"),
        (["a", "B", "c\n"], r'has "B" and "c\n"'),
        (["a", None], "has null"),
        (["b", "a", "b"], 'has "b" twice'),
        ("[a", 'is "[a"'),
        ("{a: b}", 'is "{a: b}"'),
        ({"a": "b"}, 'is {"a": "b"}'),
        (7, "is 7"),
        (None, "is null"),
    ],
)
def test_no_such_list(given: object, is_now: str) -> None:
    assert fault(WORDS, given) == f"x {is_now}; allowed is a list of words, for example [word]."


def test_a_list_that_is_too_short() -> None:
    assert fault(List(element=WORD, least=2, allowed="two words"), ["a"]) == 'x is ["a"]; allowed is two words.'


@pytest.mark.parametrize("given", [{"A": "5", "B": "no"}, '{"A": 5, "B": false}', "{A: 5, B: no}", "A: 5\nB: off"])
def test_mappings(given: object) -> None:
    assert value(MAP, given) == {"A": 5, "B": False}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (None, "x is null; allowed is a mapping, for example {A: 1}."),
        ("A=5", "x is text that is no mapping; allowed is a mapping, for example {A: 1}."),
        ("{A: [}", "x is text that is no mapping; allowed is a mapping, for example {A: 1}."),
        (["A"], 'x is ["A"]; allowed is a mapping, for example {A: 1}.'),
        ({"C": 1}, 'x has the name "C"; allowed is a mapping, for example {A: 1}.'),
        ({"A": None}, "x sets A to null; allowed is 1 to 9, for example 5."),
        ("{A: null, B: 3}", "x sets A to null; allowed is 1 to 9, for example 5.\nx sets B to 3; allowed is true or false."),
        ({"S": "canary\n"}, "x sets S to a value that is not shown; allowed is a secret."),
        ({"S": None}, "x sets S to null; allowed is a secret."),
    ],
)
def test_no_such_mapping(given: object, sentence: str) -> None:
    assert fault(MAP, given) == sentence


def test_a_mapping_of_secrets_is_never_shown() -> None:
    rule = Dict(options={}, secret=True, allowed="a mapping")
    assert fault(rule, ["canary"]) == "x is no mapping; allowed is a mapping."
    assert fault(rule, "canary") == "x is no mapping; allowed is a mapping."
    assert fault(rule, None) == "x is null; allowed is a mapping."


def test_a_mapping_of_any_names() -> None:
    assert value(PATHS, {"a": "/b"}) == {"a": "/b"}
    assert fault(PATHS, {"A": "/b"}) == 'x has the name "A"; allowed is a mapping of paths, for example {a: /b}.'
    assert fault(PATHS, {"a": "b"}) == 'x sets a to "b"; allowed is a path.'


@pytest.mark.parametrize(("rule", "word"), [(WORD, "str"), (Text(path=True, allowed=""), "path"), (WHOLE, "int"), (ANY, "float"), (Flag(), "bool")])
def test_types(rule: Rule, word: str) -> None:
    assert rule.type() == word


def test_what_ansible_hangs_on_a_value_is_gone() -> None:
    class Tagged(str):
        pass

    class Encrypted:
        def __str__(self) -> str:
            return "open"

    found = plain({Tagged("a"): (Tagged("b"), True, None, 1, 0.5, Encrypted())})
    assert found == {"a": ["b", True, None, 1, 0.5, "open"]}
    assert [type(each) for each in (*found, found["a"][0])] == [str, str]
