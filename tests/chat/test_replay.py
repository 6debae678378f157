"""Prompts are put together from the conversation's rendering, and are what rendering them in full gives."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskkit.chat.conversation import Conversation
from maskkit.chat.traced import plain
from maskkit.errors import TemplateError
from tests.chat.conversations import CONVERSATIONS, TOOLS, Row, assistant, call, system, tool, user
from tests.chat.tokenizers import renderer_for
from tests.real import trl_template

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def conversation_of(template: str, row: Row) -> Conversation:
    renderer = renderer_for(template)
    return renderer._conversation(row, renderer._template_of(row))


def turns(count: int) -> Row:
    return Row((system("s"), *(m for n in range(count) for m in (user(f"u{n}"), assistant(f"a{n}")))))


def check_beginnings(template: str, row: Row) -> None:
    conversation, afresh = conversation_of(template, row), conversation_of(template, row)
    try:
        whole = plain(conversation.whole())
    except TemplateError:
        return
    for count in range(1, len(row.messages)):
        for prompting in (True, False):
            fast, full = conversation.beginning(count, prompting), afresh.render_or_none(count, prompting)
            assert (None if fast is None else fast.text(whole)) == (None if full is None else plain(full)), (count, prompting)


def renderings(template: str, count: int) -> int:
    """How often the template is run for all the prompts of a conversation."""
    row = turns(count)
    conversation = conversation_of(template, row)
    conversation.whole()
    for index in range(2, len(row.messages), 2):
        conversation.beginning(index, True)
    return conversation.renderings


@pytest.mark.parametrize("name", ["chatml", "llama3", "gemma3", "phi3", "qwen2_5", "cohere"])
def test_a_template_that_only_appends_is_run_twice_however_long_the_conversation(name: str) -> None:
    template = CHATML if name == "chatml" else trl_template(name)
    counted = [renderings(template, count) for count in (4, 40)]
    assert counted[0] == counted[1] <= 3


@pytest.mark.parametrize("name", ["qwen3", "deepseekv3", "glm4moe", "lfm2_2_5", "nemotron_3_nano", "gptoss"])
def test_a_template_that_looks_around_is_run_once_for_each_prompt_and_enters_its_loops_late(name: str) -> None:
    row = turns(40)
    conversation = conversation_of(trl_template(name), row)
    whole = plain(conversation.whole())
    for index in range(2, len(row.messages), 2):
        beginning = conversation.beginning(index, True)
        assert beginning is not None
        assert beginning.shared > 0
        assert len(beginning.tail) < 0.5 * len(whole) / 10
    assert conversation.renderings <= 1 + 40


def turns_with_calls(count: int) -> Row:
    turn = [(user(f"u{n}"), assistant("", tool_calls=[call({"city": f"c{n}"})]), tool(f"r{n}"), assistant(f"a{n}")) for n in range(count)]
    return Row((system("s"), *(message for messages in turn for message in messages)), tools=TOOLS)


@pytest.mark.parametrize("name", ["qwen3", "qwen3_training", "gptoss", "gemma4"])
@pytest.mark.parametrize("make", [turns, turns_with_calls])
def test_the_work_for_all_prompts_grows_with_the_conversation_and_not_faster(name: str, make: Callable[[int], Row]) -> None:
    def prompts(count: int) -> None:
        row = make(count)
        conversation = conversation_of(trl_template(name), row)
        conversation.whole()
        for index in range(2, len(row.messages)):
            conversation.beginning(index, True)

    prompts(2)
    assert calls_of(lambda: prompts(40)) < 4.5 * calls_of(lambda: prompts(10))


def calls_of(function: Callable[[], None]) -> int:
    """How many Python functions it calls."""
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


BACKWARDS = (
    "{% for m in messages[::-1] %}{% if m.role == 'user' %}{% set ns.last = (messages|length - 1) - loop.index0 %}{% endif %}{% endfor %}"
)
LOOKS = (
    "{{ messages|length }}",
    "{{ messages[-1].role }}",
    "{{ messages|last|string|length }}",
    "{{ 'L' if loop.last }}",
    "{{ loop.nextitem.role if loop.nextitem is defined }}",
    "{{ loop.revindex }}",
    "{{ loop.length }}",
    "{{ loop.previtem.role if loop.previtem }}",
    "{{ messages[loop.index0 + 1].role if not loop.last }}",
    "{{ messages[loop.index].content if loop.index < 3 }}",
    "{{ loop.changed(m.role) }}",
    "{{ loop.cycle('x', 'y') }}",
    "{% set ns.n = ns.n + 1 %}{{ ns.n }}",
    "{% if loop.index0 > ns.last %}late{% endif %}",
    "{% if ns.last == loop.index0 %}same{% endif %}",
    "{% if ns.last <= 2 %}two{% endif %}",
    "{% set ns.text = ns.text ~ m.content %}",
    "{{ ns.text }}",
    "{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}",
    "{{ 'P' if add_generation_prompt }}",
    "{{ 'G' if loop.last and add_generation_prompt }}",
    "{% for n in messages %}{{ n.role[0] }}{% endfor %}",
    "{{ messages[1:]|length }}",
    "{{ messages[:2]|map(attribute='role')|join }}",
    "{{ (messages + [1])|length }}",
    "{{ messages == [] }}",
    "{{ messages.copy()|length }}",
    "{{ [messages]|string|length }}",
    "{{ messages|selectattr('role', 'equalto', 'user')|list|length }}",
    "{{ messages|tojson|length }}",
    "{{ m in messages }}",
    "{{ messages[5].role }}",
    "{{ show(m) }}",
    "{{ show(messages[-1]) }}",
    "{% if loop.index == 3 %}{% break %}{% endif %}",
    "{% if m.role == 'tool' %}{% continue %}{% endif %}",
    "{{ raise_exception('x') if loop.index > 4 }}",
    "{% set ns.kept = m %}{{ ns.kept.role }}",
    "{% set ns.kept = messages %}{{ ns.kept|length }}",
    "{{ messages[3:][0].role }}",
)
PROLOGUES = (
    "{{ messages[0].role }}",
    "{% set ns.last = messages|length - 1 %}",
    BACKWARDS,
    "{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}",
    "{% set tail = messages[-1] %}{{ tail.role }}",
    "{% set ns = namespace(n=0, last=1, text='', kept=0) %}",
    "{% set flag = add_generation_prompt %}",
    "{{ 'x' if add_generation_prompt is defined }}",
)
EPILOGUES = (
    "{{ '>' if add_generation_prompt }}",
    "{{ messages[-1].role if add_generation_prompt }}",
    "{{ ns.n }}{{ ns.text }}",
    "{{ ns.last }}",
    "{{ ns.last < 4 }}",
    "{{ 'F' if flag }}",
    "{% for m in messages[-1:] %}{{ m.content }}{% endfor %}",
)


@st.composite
def templates(draw: st.DrawFn) -> str:
    """Loops that look at what is still to come, in all the ways that templates have."""

    def some(pieces: tuple[str, ...], most: int) -> str:
        return "".join(draw(st.lists(st.sampled_from(pieces), max_size=most)))

    over = draw(st.sampled_from(["messages", "messages", "messages[1:]", "messages[0:]", "messages[:3]", "rest"]))
    template = "{% macro show(m) %}<{{ m.role }}{{ 'P' if add_generation_prompt }}>{% endmacro %}"
    template += "{% set ns = namespace(n=0, last=-1, text='', kept=0) %}{% set rest = messages[1:] %}" + some(PROLOGUES, 2)
    template += "{% for m in " + over + " %}{{ m.content }}" + some(LOOKS, 3) + ";{% endfor %}"
    return template + some(EPILOGUES, 2)


ROLES = {"system": system, "user": user, "assistant": assistant, "tool": tool}


@st.composite
def rows(draw: st.DrawFn) -> Row:
    said = draw(st.lists(st.tuples(st.sampled_from(sorted(ROLES)), st.sampled_from(["a", "bc", ""])), min_size=2, max_size=7))
    return Row(tuple(ROLES[role](text) for role, text in said))


@settings(max_examples=150, deadline=None)
@given(template=templates(), row=rows())
def test_no_way_of_looking_ahead_goes_unnoticed(template: str, row: Row) -> None:
    check_beginnings(template, row)


@pytest.mark.parametrize("piece", [*LOOKS, *PROLOGUES, *EPILOGUES])
def test_each_way_of_looking_ahead_is_noticed(piece: str) -> None:
    row: Any = Row((system("s"), user("u"), assistant("a"), tool("t"), user("v"), assistant("b"), user("w"), assistant("c")))
    start = "{% macro show(m) %}{{ m.role }}{{ add_generation_prompt }}{% endmacro %}{% set ns = namespace(n=0, last=1, text='', kept=0) %}"
    inside = "loop" in piece or "m." in piece or "show" in piece or "(m)" in piece
    check_beginnings(start + "{% for m in messages %}{{ m.content }}" + piece + "{% endfor %}{{ add_generation_prompt }}", row)
    if not inside:
        check_beginnings(start + piece + "{% for m in messages %}{{ m.content }}{% endfor %}{{ add_generation_prompt }}", row)
        check_beginnings(start + "{% for m in messages %}{{ m.content }}{% endfor %}" + piece, row)


NS = "{% set ns = namespace(last=-1) %}"
BODY = "<{{ m.role }}>{{ m.content }}"
ONE_OF_TWO_LOOPS = (
    (
        f"{{% if messages[-1].role == 'assistant' %}}{{% for m in messages %}}{BODY}{{% endfor %}}"
        f"{{% else %}}{{% for m in messages %}}{BODY}!{{% endfor %}}{{% endif %}}"
    ),
    (
        f"{{% if add_generation_prompt %}}{{% for m in messages %}}{BODY}{{% if loop.last %}}<assistant>{{% endif %}}{{% endfor %}}"
        f"{{% else %}}{{% for m in messages %}}{BODY}.{{% endfor %}}{{% endif %}}"
    ),
    (
        f"{{% if messages|length < 4 %}}{{% for m in messages %}}{BODY}{{% endfor %}}"
        f"{{% elif messages|length < 6 %}}{{% for m in messages %}}{BODY}?{{% endfor %}}"
        f"{{% else %}}{{% for m in messages %}}{BODY}!{{% endfor %}}{{% endif %}}"
    ),
)


@pytest.mark.parametrize("template", ONE_OF_TWO_LOOPS)
def test_a_loop_is_not_taken_for_another(template: str) -> None:
    check_beginnings(template, turns(4))


@pytest.mark.parametrize("look", ["loop.last", "loop.nextitem"])
def test_a_message_that_was_looked_at_and_never_reached_has_no_iteration(look: str) -> None:
    left = (
        f"{{% for m in messages %}}{BODY}{{% if {look} %}}-{{% endif %}}{{% if loop.index == 2 %}}{{% break %}}{{% endif %}}{{% endfor %}}"
    )
    check_beginnings(left + "{% if add_generation_prompt %}<assistant>{% endif %}", turns(2))


LAST_USER = "{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"


@pytest.mark.parametrize(
    "template",
    [
        NS + LAST_USER + "{% for m in messages %}{{ m.content }}{{ '*' if loop.index0 < ns.last }}{% endfor %}",
        NS + LAST_USER + "{% for m in messages %}{{ m.content }}{{ '*' if ns.last <= loop.index0 }}{% endfor %}",
        NS + LAST_USER + "{% for m in messages %}{{ m.content }}{{ '*' if loop.index0 == ns.last }}{% endfor %}",
        NS + LAST_USER + "{% for m in messages %}{{ m.content }}{{ '*' if 3 != ns.last }}{% endfor %}",
        NS + LAST_USER + "{% for m in messages %}{{ m.content }}{% endfor %}{{ 'late' if ns.last > 4 }}",
        NS + LAST_USER + "{% for m in messages %}{{ m.content }}{{ '*' if loop.last and ns.last > 3 }}{% endfor %}",
        "{% set n = messages|length %}{% for m in messages %}{{ m.content }}{{ n }}{% endfor %}",
        "{% set last = messages[-1] %}{% for m in messages %}{{ m.content }}{{ last.role }}{% endfor %}",
        "{% set rest = messages[1:] if messages|length > 3 else messages %}{% for m in rest %}{{ m.content }}{% endfor %}",
    ],
)
def test_what_is_found_before_a_loop_counts_in_it(template: str) -> None:
    check_beginnings(template, turns(5))


@pytest.mark.parametrize("name", ["qwen3", "glm4moe", "lfm2_2_5", "nemotron_3_nano", "gptoss", "gemma4", "deepseekv3"])
@pytest.mark.parametrize("conversation", ["tools and reasoning", "reasoning twice"])
def test_templates_that_rewrite_history_rewrite_it_in_prompts(name: str, conversation: str) -> None:
    check_beginnings(trl_template(name), CONVERSATIONS[conversation])
