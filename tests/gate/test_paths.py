"""Whatever a stranger makes of a public path: the server is reached by its exact spelling, and by nothing else."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from wire import PUBLIC, STRANGER, Client, over_h2

EXAMPLES = 3000 if os.environ.get("NOUS_VM_GATE") == "full" else 150
PIECES = [
    "/",
    ".",
    "..",
    "//",
    "/./",
    "/../",
    "%2f",
    "%2e",
    "%00",
    "%20",
    "%",
    ";",
    "?",
    "#",
    "\\",
    "*",
    "&",
    "=",
    ":",
    "@",
    "token",
    "x",
    "%c0%af",
    "{",
    "}",
    "\t",
    "~",
]


def respelled(character: str, how: str) -> str:
    return {"upper": character.upper(), "percent": f"%{ord(character):02x}", "twice": f"%25{ord(character):02x}", "gone": "", "doubled": character * 2}[how]


@st.composite
def targets(draw: st.DrawFn) -> str:
    """A public path with a few of its characters spelled in another way and pieces put into it."""
    target = list(draw(st.sampled_from(PUBLIC)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(target) - 1))
        target[place] = "".join(respelled(each, draw(st.sampled_from(["upper", "percent", "twice", "gone", "doubled"]))) for each in target[place][:1])
    for _ in range(draw(st.integers(0, 3))):
        target.insert(
            draw(st.integers(0, len(target))), draw(st.sampled_from(PIECES) | st.text(st.characters(min_codepoint=33, max_codepoint=255), max_size=3))
        )
    return "".join(target)


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(target=targets(), version=st.sampled_from(["1.0", "1.1", "2"]))
@example(target="/authorize", version="1.1")
@example(target="/authorize?x", version="2")
@example(target="/AUTHORIZE", version="2")
def test_a_stranger_and_the_server_meet_at_public_paths_alone(client: Client, target: str, version: str) -> None:
    answer = client.h2(STRANGER, over_h2(target))[0] if version == "2" else client.ask(STRANGER, target, version=version)
    assert (answer.seen is not None) == (target.split("?")[0] in PUBLIC), answer
    assert answer.seen is None or answer.seen.path in PUBLIC
    assert answer.seen or answer.status != 200
