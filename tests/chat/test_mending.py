"""A row that a template refuses: which message lacks what the template asks for, and what to write."""

from __future__ import annotations

from typing import Any

import pytest

import maskkit
from maskkit import Masker, embedded
from maskkit.chat.mending import remedy_for
from maskkit.errors import TemplateError
from tests.real import real_tokenizer

ADDS_CONTENT = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
    "{% for c in m.tool_calls or [] %}{{ '<tool_call>' + c.function.arguments + '</tool_call>' }}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TOKENIZER = embedded.tiny_tokenizer()
TOKENIZER.chat_template = ADDS_CONTENT


def call(arguments: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "clock", "arguments": arguments}}


def asked(content: Any = "How late is it?") -> dict[str, Any]:
    return {"role": "user", "content": content}


def refused(*messages: dict[str, Any], tokenizer: Any = TOKENIZER) -> str:
    with pytest.raises(TemplateError) as error:
        Masker(tokenizer)({"messages": list(messages)})
    return str(error.value)


def called(arguments: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": [call(arguments)], **more}


TEN = {"role": "assistant", "content": "Ten."}
NO_CONTENT = 'messages[1].content is missing or null, and the template asks for it: write "content": "" there'
NO_TEXT = "messages[0].content is a list of parts, and the template takes text: join them to one text, it has no place for others"
NO_JSON = "messages[1].tool_calls has arguments as an object, and the template takes text: write them as JSON text"


@pytest.mark.parametrize(("messages", "remedy"), [
    ([asked(), called("{}", content=None), TEN], f"; {NO_CONTENT}"),
    ([asked(), called("{}")], f"; {NO_CONTENT}"),
    ([asked([{"type": "text", "text": "How late"}, {"type": "text", "text": " is it?"}]), TEN], f"; {NO_TEXT}"),
    ([asked([{"type": "image"}, {"type": "text", "text": "How late?"}]), TEN], f"; {NO_TEXT}"),
    ([asked(), called({"city": "Oslo"}, content="")], f"; {NO_JSON}"),
    ([asked(), called({"city": "Oslo"})], f"; {NO_CONTENT}; {NO_JSON}"),
])  # fmt: skip
def test_the_message_and_the_remedy_are_told(messages: list[dict[str, Any]], remedy: str):
    assert refused(*messages).endswith(remedy)


def test_a_template_that_takes_objects_says_so():
    tokenizer = embedded.tiny_tokenizer()
    tokenizer.chat_template = ADDS_CONTENT.replace("c.function.arguments", "c.function.arguments.city")
    assert refused(asked(), called('{"city": "Oslo"}', content=""), tokenizer=tokenizer).endswith(
        "; messages[1].tool_calls has arguments as JSON text, and the template takes an object: write them as an object"
    )


def test_what_nothing_mends_keeps_the_template_s_own_words():
    tokenizer = embedded.tiny_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('no clocks') }}"
    assert refused(asked([{"type": "text", "text": "How late?"}]), TEN, tokenizer=tokenizer).endswith("TemplateError: no clocks")


def test_only_messages_that_cannot_stay_are_named():
    messages = (asked(), called("{}"), {"role": "tool", "content": "10"}, called("{}"))
    assert remedy_for(messages, lambda given: "content" in given[3]).startswith("; messages[3].content is missing")


def test_of_many_the_first_are_named():
    messages = tuple(called("{}") for _ in range(20))
    told = remedy_for(messages, lambda given: all("content" in message for message in given))
    assert told.startswith("; messages[0].content, messages[1].content, messages[2].content and 17 more are missing")


def test_lint_tells_it_too():
    report = maskkit.lint([{"messages": [asked(), called("{}"), TEN]}], TOKENIZER)
    assert NO_CONTENT in report.findings[0].places[0].message


@pytest.mark.parametrize("name", ["qwen3", "deepseek_v3"])
def test_a_call_without_content_under_real_templates(name: str):
    assert NO_CONTENT in refused(asked(), called("{}", content=None), TEN, tokenizer=real_tokenizer(name))
