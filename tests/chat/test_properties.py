"""Whatever is said, by whomever: what the data is does not depend on what it contains."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskkit.chat.segments import RenderedText
from tests.chat.conversations import Row, assistant, call, system, tool, user
from tests.chat.looking import check_cover, codes
from tests.chat.test_render import CHATML
from tests.chat.tokenizers import renderer_for, transformers_text

TRIMMED = CHATML.replace("m.content if m.content is string", "m.content|trim if m.content is string").replace("im_end", "eot_id")

TEXTS = st.lists(
    st.sampled_from(
        [
            "a",
            "word ",
            "\n",
            " ",
            "<think>",
            "</think>",
            "<tool_call>",
            "</tool_call>",
            "<|im_end|>",
            "<|im_start|>",
            "system\n",
            "é",
            "🐕‍🦺",
            '"',
            "\\",
        ]
    ),
    max_size=6,
).map("".join)


@st.composite
def conversations(draw: st.DrawFn) -> Row:
    messages: list[dict[str, Any]] = [system(draw(TEXTS))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        messages.append(user(draw(TEXTS)))
        if draw(st.booleans()):
            messages += [assistant(draw(TEXTS), tool_calls=[call({"x": draw(TEXTS)})]), tool(draw(TEXTS))]
        reasoning = {"reasoning_content": draw(TEXTS)} if draw(st.booleans()) else {}
        messages.append(assistant(draw(TEXTS), **reasoning))
    return Row(tuple(messages))


def kinds_of(rendered: RenderedText, message: int, field: str) -> set[tuple[str, bool]]:
    return {(s.kind.value, s.generated) for s in rendered.segments if s.message == message and s.field == field}


@pytest.mark.parametrize("template", [CHATML, TRIMMED], ids=["chatml", "trimmed"])
@given(row=conversations())
def test_data_keeps_its_kind_whatever_it_says(template: str, row: Row) -> None:
    renderer = renderer_for(template)
    rendered = renderer.render(row)
    assert rendered.text == transformers_text(renderer.tokenizer, row.messages, tools=None)
    check_cover(rendered)
    assert set(codes(rendered)) <= {"dropped-text"}
    for index, message in enumerate(row.messages):
        expected = {
            "system": {("system", False)},
            "user": {("user", False)},
            "tool": {("tool_result", False)},
            "assistant": {("answer", True), ("reasoning", True)},
        }[message["role"]]
        assert kinds_of(rendered, index, "content") <= expected
        assert kinds_of(rendered, index, "reasoning_content") <= {("reasoning", True)}
        assert kinds_of(rendered, index, "tool_calls[0].function.arguments.x") <= {("tool_call", True)}
    replies = [i for i, message in enumerate(row.messages) if message["role"] == "assistant"]
    assert [s.message for s in rendered.segments if s.kind == "stop"] == replies


@pytest.mark.parametrize("template", [CHATML, TRIMMED], ids=["chatml", "trimmed"])
@given(row=conversations())
def test_a_segment_of_data_is_that_data(template: str, row: Row) -> None:
    rendered = renderer_for(template).render(row)
    for segment in rendered.segments:
        if segment.field in ("content", "reasoning_content"):
            source = row.messages[segment.message][segment.field]
            length = segment.end - segment.start
            assert source[segment.offset : segment.offset + length] == rendered.text[segment.start : segment.end]


@given(row=conversations())
def test_each_turn_begins_where_its_prompt_ends(row: Row) -> None:
    renderer = renderer_for(CHATML)
    rendered = renderer.render(row)
    for index, message in enumerate(row.messages):
        if message["role"] == "assistant":
            prompt = transformers_text(renderer.tokenizer, row.messages[:index], tools=None, add_generation_prompt=True)
            first = next(s for s in rendered.segments if s.generated and s.message == index)
            assert rendered.text[: first.start] == prompt
