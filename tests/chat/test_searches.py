"""Loops are left when they have found what they look for, and nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment, nodes

from maskkit.chat.searches import found_when
from maskkit.chat.traced import plain
from maskkit.errors import TemplateError
from tests.chat.conversations import Row, assistant, system, tool, user
from tests.chat.test_replay import check_beginnings, conversation_of, rows, turns
from tests.chat.tokenizers import tokenizer_for, transformers_text


def found(body: str, head: str = "for m in messages[::-1]") -> dict[tuple[str, str], Any] | None:
    template = Environment(extensions=["jinja2.ext.loopcontrols"]).parse("{% " + head + " %}" + body + "{% endfor %}")
    search = found_when(next(template.find_all(nodes.For)))
    return None if search is None else dict(search.values)


@pytest.mark.parametrize(
    "body",
    [
        "{% if m.role == 'user' %}{% set ns.found = true %}{% endif %}",
        "{% if not ns.found and m.role.nothing.at.all %}{% set ns.found = true %}{% set ns.at = loop.index0 %}{% endif %}",
        "{% if not ns.found %}{{ m.content }}{% if m.role == 'user' %}{% set ns.found = true %}{% endif %}{% endif %}",
        "{% if ns.found %}{% elif m.role|upper != 'TOOL' %}{% set ns.found = true %}{% else %}{{ m.content }}{% endif %}",
        "{% set at = (messages|length - 1) - loop.index0 %}{% if not ns.found %}{% set ns.found = true %}{% set ns.at = at %}{% endif %}",
        "{% if m['role'] == 'tool' and 'name' in m %}{% set ns.found = true %}{% endif %}",
        "{% if ns.found or m.role.x.y %}{% else %}{% set ns.found = true %}{% endif %}",
    ],
)
def test_a_search_is_over_when_its_flag_is_set(body: str) -> None:
    assert found(body) == {("ns", "found"): True}


@pytest.mark.parametrize(
    "body",
    [
        "{% if m.role == 'user' %}{% set ns.found = true %}{% set ns.at = loop.index0 %}{% endif %}",
        "{{ m.role }}{% if not ns.found %}{% set ns.found = true %}{% endif %}",
        "{% if not ns.found %}{% set ns.found = true %}{% endif %} ",
        "{% if not ns.found %}{% set ns.found = true %}{% else %}{% set ns.found = false %}{% endif %}",
        "{% if m.role == 'user' %}{% set ns.found = true %}{% else %}{% set ns.found = false %}{% endif %}",
        "{% if m.role.name == 'user' %}{% set ns.found = true %}{% endif %}",
        "{% if other.role == 'user' %}{% set ns.found = true %}{% endif %}",
        "{% if m.role|upper == 'USER' %}{% set ns.found = true %}{% endif %}",
        "{% if m.content.startswith('a') and not ns.found %}{% set ns.found = true %}{% endif %}",
        "{% if 'a' in m.content %}{% set ns.found = true %}{% endif %}",
        "{% set ns = namespace() %}{% if not ns.found %}{% set ns.found = true %}{% endif %}",
        "{% set n = m.content|length %}{% if not ns.found %}{% set ns.found = true %}{% endif %}",
        "{% set n = 1 %}{% set k = n|length %}{% if not ns.found %}{% set ns.found = true %}{% endif %}",
        "{% if not ns.found %}{% set ns.found = m.role %}{% endif %}",
        "{% if not ns.found %}{% set ns.found = true %}{% endif %}{{ raise_exception('x') }}",
        "{% if not ns.found %}{% set ns.found = true %}{% endif %}{% if loop.last %}{% set ns.end = m %}{% endif %}",
    ],
)
def test_a_loop_that_may_still_do_something_goes_on(body: str) -> None:
    assert found(body) is None


@pytest.mark.parametrize("head", ["for m in messages if m.role", "for m in messages recursive"])
def test_loops_with_conditions_or_in_themselves_go_on(head: str) -> None:
    assert found("{% if m.role == 'user' %}{% set ns.found = true %}{% endif %}", head) is None


TESTS = (
    "m.role == 'user'",
    "not ns.found",
    "ns.found",
    "'name' in m",
    "m.content == 'a'",
    "ns.at == 2",
    "m is mapping",
    "m.x.y",
    "loop.first",
)
CHANGES = (
    "set ns.found = true",
    "set ns.found = false",
    "set ns.at = 2",
    "set ns.at = loop.index0",
    "set ns.role = m.role",
    "set x = m.role",
)


@st.composite
def bodies(draw: st.DrawFn, depth: int = 2) -> str:
    """Bodies of loops, of which some search."""
    pieces = []
    for _ in range(draw(st.integers(1, 2))):
        if depth and draw(st.integers(0, 3)):
            joined = draw(st.sampled_from([" and ", " or "])).join(draw(st.lists(st.sampled_from(TESTS), min_size=1, max_size=2)))
            other = "{% else %}" + draw(bodies(depth - 1)) if draw(st.booleans()) else ""
            pieces.append("{% if " + joined + " %}" + draw(bodies(depth - 1)) + other + "{% endif %}")
        else:
            pieces.append(draw(st.sampled_from([*("{% " + change + " %}" for change in CHANGES), "{{ m.content }}"])))
    return "".join(pieces)


START = "{% set ns = namespace(found=false, at=0, role='') %}"
END = "{% endfor %}{{ ns.found }}{{ ns.at }}{{ ns.role }}{{ '>' if add_generation_prompt }}"
HEADS = ("{% for m in messages %}", "{% for m in messages[::-1] %}", "{% for m in messages[1:] %}")


@settings(max_examples=150, deadline=None)
@given(head=st.sampled_from(HEADS), body=bodies(), row=rows())
def test_text_and_prompts_are_those_of_loops_that_go_on(head: str, body: str, row: Row) -> None:
    template = START + head + body + END
    try:
        expected: str | None = transformers_text(tokenizer_for(template), row.messages)
    except Exception:  # whatever templates raise
        expected = None
    try:
        text: str | None = plain(conversation_of(template, row).whole())
    except TemplateError:
        text = None
    assert text == expected
    check_beginnings(template, row)


def looks(template: str, row: Row) -> int:
    conversation = conversation_of(template, row)
    conversation.whole()
    assert conversation._recording is not None
    return conversation._recording.looks


def test_a_search_looks_no_further_than_needed() -> None:
    template = (
        "{% for m in messages %}{% set ns = namespace(found=false) %}{% set rest = messages[loop.index:] %}{% for n in rest %}"
        "{% if n.role == 'assistant' %}{% set ns.found = true %}{% endif %}{% endfor %}{{ m.content }}{{ ns.found }}{% endfor %}"
    )
    short, long = (looks(template, turns(count)) for count in (10, 40))
    assert long < 4.5 * short


@pytest.mark.parametrize("range_", ["range(messages|length)", "range(1, messages|length)", "range(messages|length - 1)", "range(2)"])
@pytest.mark.parametrize("body", ["{{ messages[i].content }}", "{{ i }}{{ loop.last }}", "{{ loop.length }}", "{% set ns.n = ns.n + i %}"])
def test_loops_over_numbers_of_messages_are_replayed(range_: str, body: str) -> None:
    row = Row((system("s"), user("u"), assistant("a"), tool("t"), user("v"), assistant("b")))
    template = "{% set ns = namespace(n=0) %}{% for i in " + range_ + " %}" + body + "{% endfor %}{% for m in messages %}{{ m.content }}"
    check_beginnings(template + "{{ ns.n }}{% endfor %}{{ ns.n if add_generation_prompt }}", row)
    check_beginnings(
        "{% for m in messages %}{% for i in " + range_ + " %}" + body.replace("ns.n", "i.n") + "{% endfor %};{% endfor %}", row
    )
