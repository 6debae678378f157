"""A message's text that is printed as it is, never traced, has the origin that tracing it gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from maskkit.chat.containers import Message, trace, trace_message
from maskkit.chat.spans import spans_of
from maskkit.chat.traced import Traced
from maskkit.errors import TemplateError
from maskkit.records import to_record
from tests.chat.tokenizers import renderer_for

TEXTS = st.one_of(st.text(max_size=6), st.sampled_from(["", " ", " a", "a \n", "\u2003a\u2003", "\x1ca\x1f", "'a'"]))
VALUES = st.one_of(TEXTS, st.just([{"type": "text", "text": "x"}]))
SAID = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": VALUES})
THOUGHT = st.fixed_dictionaries({"role": st.just("assistant"), "reasoning_content": st.just("r")})
MESSAGES = st.lists(st.one_of(SAID, THOUGHT), min_size=1, max_size=4)

EXPRESSIONS = (
    "m.content",
    "m['content']",
    "m.content | trim",
    "'<' + m['content'] + '>'",
    "m['role'] ~ m.content",
    "'[' + m['content'] | trim + ']'",
)
BODIES = (
    "{{ EXPRESSION }}",
    "{% if m.content is string and not m['content'] == 'a' or m.content %}{{ EXPRESSION }}{% endif %}",
    "{% set kept %}{{ EXPRESSION }}{% endset %}{{ kept }}",
    "{{ show(m) }}{% if 'content' in m %}{{ EXPRESSION }}{% endif %}",
)
MACRO = "{% macro show(m) %}({{ m.role }}{{ m.content }}){% endmacro %}"


def rendered(template: str, messages: list[dict[str, Any]]) -> tuple[Any, ...]:
    renderer = renderer_for(template)
    record = to_record({"messages": messages})
    try:
        text = renderer._conversation(record, renderer._template_of(record)).whole()
    except TemplateError as error:
        return (str(error),)
    return str.__str__(text), list(spans_of(text))


@settings(max_examples=80, deadline=None)
@given(messages=MESSAGES, expression=st.sampled_from(EXPRESSIONS), body=st.sampled_from(BODIES))
@example(messages=[{"role": "user", "content": "\x1ca "}], expression="m.content | trim", body=BODIES[0])
def test_what_is_printed_bare_is_what_a_traced_message_prints(messages: list[dict[str, Any]], expression: str, body: str) -> None:
    printed = body.replace("EXPRESSION", expression)
    bare = MACRO + "{% for m in messages %}" + printed + "|{% endfor %}"
    # Asking for a dict's items traces all of it.
    traced = MACRO + "{% for m in messages %}{% if m.items() %}{% endif %}" + printed + "|{% endfor %}"
    assert rendered(bare, messages) == rendered(traced, messages)


WAYS: dict[str, Callable[[Any], Any]] = {
    "items": lambda m: list(m.items()),
    "keys": lambda m: list(m.keys()),
    "values": lambda m: list(m.values()),
    "iteration": list,
    "reversed": lambda m: list(reversed(m)),
    "copy": lambda m: list(m.copy().items()),
    "dict": lambda m: list(dict(m).items()),
    "unpacked": lambda m: list({**m}.items()),
    "arguments": lambda m: list(dict(**m).values()),
    "union": lambda m: list((m | {}).items()),
    "right union": lambda m: list(({} | m).items()),
    "updated": lambda m: list(_updated(m).items()),
    "get": lambda m: [m.get(key) for key in ("role", "content", "name", "none")],
    "item": lambda m: [m[key] for key in ("role", "content", "name")],
    "text": lambda m: [str(m), repr(m)],
    "pop": lambda m: [m.pop("content"), m.popitem()],
    "setdefault": lambda m: [m.setdefault("content", "other")],
}


def _updated(message: Any) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    made.update(message)
    return made


def known(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [known(item) for item in value]
    return type(value), value, value._runs if isinstance(value, Traced) else None


@pytest.mark.parametrize("way", WAYS)
def test_no_way_to_look_at_a_message_shows_bare_text(way: str) -> None:
    message = {"role": "user", "content": "hello", "name": "", "tool_calls": [{"id": "x"}]}
    eager = trace(message, ("messages", 3), Message)
    assert known(WAYS[way](trace_message(message, 3))) == known(WAYS[way](eager))


def test_a_message_keeps_what_was_traced_of_it() -> None:
    message = trace_message({"role": "user", "content": "hello"}, 0)
    content = message["content"]
    assert message["content"] is content is message.get("content")
    assert next(iter(message.items()))[0]._runs[0][1] == ("messages", 0)
    assert message["content"] is content
    assert list(message) == ["role", "content"]
