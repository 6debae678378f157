"""Templates that print a message in the iteration of another: buffered, one iteration later, by index, with its question."""

from __future__ import annotations

from typing import Any

import pytest

from maskkit.chat.segments import RenderedText
from maskkit.kinds import SegmentKind
from tests.chat.conversations import Row, assistant, tool, user
from tests.chat.looking import check_cover, codes, marked
from tests.chat.tokenizers import renderer_for


def said(what: str) -> str:
    return f"<|im_start|>{{{{ {what}.role }}}}\n{{{{ {what}.content }}}}<|im_end|>\n"


PROMPT = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
STYLES = {
    "merged runs of one role": (
        "{% set ns = namespace(buffer='', role='') %}{% for m in messages %}{% if m.role == ns.role %}"
        "{% set ns.buffer = ns.buffer ~ '\n\n' ~ m.content %}{% else %}{% if ns.role %}<|im_start|>{{ ns.role }}\n"
        "{{ ns.buffer }}<|im_end|>\n{% endif %}{% set ns.role = m.role %}{% set ns.buffer = m.content %}{% endif %}{% endfor %}"
        "<|im_start|>{{ ns.role }}\n{{ ns.buffer }}<|im_end|>\n" + PROMPT
    ),
    "kept and printed one iteration later": (
        "{% set ns = namespace(kept=none) %}{% for m in messages %}{% if ns.kept %}" + said("ns.kept") + "{% endif %}{% set ns.kept = m %}"
        "{% endfor %}" + said("ns.kept") + PROMPT
    ),
    "the item before": (
        "{% for m in messages %}{% if loop.previtem %}"
        + said("loop.previtem")
        + "{% endif %}{% if loop.last %}"
        + said("m")
        + "{% endif %}"
        "{% endfor %}" + PROMPT
    ),
    "by index, with its question": (
        "{% macro say(i) %}" + said("messages[i]") + "{% endmacro %}{% for m in messages %}{% if m.role == 'user' %}{{ say(loop.index0) }}"
        "{% if loop.nextitem %}{{ say(loop.index0 + 1) }}{% endif %}{% endif %}{% endfor %}" + PROMPT
    ),
    "in pairs": (
        "{% for i in range(0, messages|length, 2) %}{% set q = messages[i] %}" + said("q") + "{% if i + 1 < messages|length %}"
        "{% set a = messages[i + 1] %}" + said("a") + "{% endif %}{% endfor %}" + PROMPT
    ),
    "every other one": (
        "{% set questions = messages[::2] %}{% set replies = messages[1::2] %}{% for q in questions %}" + said("q") + ""
        "{% if loop.index0 < replies|length %}" + said("replies[loop.index0]") + "{% endif %}{% endfor %}" + PROMPT
    ),
}


def render(template: str, *messages: dict[str, Any]) -> RenderedText:
    rendered = renderer_for(template).render(Row(messages))
    check_cover(rendered)
    return rendered


@pytest.mark.parametrize("style", STYLES)
def test_replies_are_the_models_wherever_they_are_printed(style: str):
    rendered = render(STYLES[style], user("u0"), assistant("a0"), user("u1"), assistant("a1"))
    turns = [f"<|im_start|>user\nu{n}<|im_end|>\n<|im_start|>assistant\n⟦answer:a{n}⟧⟦stop:<|im_end|>⟧\n" for n in range(2)]
    assert marked(rendered) == "".join(turns)
    assert codes(rendered) == []
    answers = [segment.message for segment in rendered.segments if segment.kind is SegmentKind.ANSWER]
    assert answers == [1, 3]


def test_thinking_that_the_prompt_opens_is_thinking_there_too():
    style = STYLES["kept and printed one iteration later"]
    template = style.replace("{{ ns.kept.content }}", "{% if ns.kept.role == 'assistant' %}<think>\n{% endif %}{{ ns.kept.content }}")
    template = template.replace(PROMPT, PROMPT.replace("assistant\n", "assistant\n<think>\n"))
    rendered = render(template, user("u"), assistant("r</think>a"), user("v"), assistant("s</think>b"))
    assert marked(rendered).count("<think>\n⟦reasoning:") == 2
    assert "⟦reasoning:r</think>⟧⟦answer:a⟧⟦stop:<|im_end|>⟧" in marked(rendered)


def test_a_reply_whose_prompt_is_not_there_is_unknown_and_counted():
    """The replies are one turn: a server would have closed the first."""
    rendered = render(STYLES["merged runs of one role"], user("u"), assistant("a0"), assistant("a1"), user("v"), assistant("b"))
    assert "unknown-text" in codes(rendered)
    unknown = [rendered.text[s.start : s.end] for s in rendered.segments if s.kind is SegmentKind.UNKNOWN]
    assert unknown == ["a1"]
    assert marked(rendered).endswith("⟦answer:b⟧⟦stop:<|im_end|>⟧\n")


def test_a_name_that_heads_the_result_of_a_call_is_that_turns_scaffolding():
    template = (
        "{% set ns = namespace(name='') %}{% for m in messages %}{% if m.role == 'tool' %}<|im_start|>{{ ns.name }}\n"
        "{{ m.content }}<|im_end|>\n{% else %}"
        + said("m")
        + "{% if m.tool_calls %}{% set ns.name = m.tool_calls[0].function.name %}{% endif %}{% endif %}{% endfor %}"
    ) + PROMPT
    called = assistant("", tool_calls=[{"type": "function", "function": {"name": "weather", "arguments": {}}}])
    rendered = render(template, user("u"), called, tool("sun"), assistant("a"))
    assert "<|im_start|>weather\nsun<|im_end|>\n" in marked(rendered)
    assert not any(segment.kind is SegmentKind.UNKNOWN for segment in rendered.segments)


CLOSED_BY_THE_NEXT = (
    "{% for m in messages %}{% if not loop.first %}{% if messages[loop.index0 - 1].role == 'assistant' %}<|im_end|>{% endif %}{% endif %}"
    "[{{ m.role }}]{{ m.content }}{% if loop.last and m.role == 'assistant' %}<|im_end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def test_an_empty_reply_has_its_stop_token_where_the_next_message_closes_it():
    rendered = render(CLOSED_BY_THE_NEXT, user("u"), assistant(""), user("v"), assistant("b"))
    assert marked(rendered) == "[user]u[assistant]⟦stop:<|im_end|>⟧[user]v[assistant]⟦answer:b⟧⟦stop:<|im_end|>⟧"


def test_a_reply_that_is_not_printed_at_all_has_none():
    template = "{% for m in messages if m.content %}" + said("m") + "{% endfor %}" + PROMPT
    rendered = render(template, user("u"), assistant(""), user("v"), assistant("b"))
    assert marked(rendered).count("⟦stop:") == 1


def test_an_empty_user_message_closes_no_reply():
    template = (
        "{% for m in messages %}{% if m.role == 'user' %}[user]{{ m.content }}<|im_end|>"
        "{% elif m.content %}[assistant]{{ m.content }}<|im_end|>{% endif %}{% endfor %}"
    )
    rendered = render(template, user("u"), assistant(""), user(""), assistant("b"))
    assert marked(rendered).startswith("[user]u<|im_end|>[user]<|im_end|>")


def test_a_header_that_is_another_than_the_prompts_says_nothing_of_where_a_reply_begins():
    style = STYLES["kept and printed one iteration later"]
    rendered = render(style.replace("{{ ns.kept.role }}", "{{ ns.kept.role }} said"), user("u"), assistant("a"), user("v"), assistant("b"))
    assert next(rendered.text[s.start : s.end] for s in rendered.segments if s.kind is SegmentKind.UNKNOWN) == "a"
    assert "unknown-text" in codes(rendered)


def test_a_reply_that_is_quoted_before_is_the_models_in_its_own_turn():
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
        "{% if loop.nextitem %} (next: {{ loop.nextitem.content[:2] }}){% endif %}"
        "<|im_end|>\n{% endfor %}"
    ) + PROMPT
    rendered = render(template, user("u"), assistant("abc"))
    assert "⟦answer:abc⟧⟦stop:<|im_end|>⟧" in marked(rendered)
    assert "u (next: ab)<|im_end|>" in marked(rendered)
