"""Replies of which the template prints nothing but a stop token: told where that stop token is trained."""

from __future__ import annotations

from typing import Any

import pytest

from maskkit import Masker, RunConfig, embedded
from tests.real import real_tokenizer
from tests.test_examples import EXAMPLES

CONTENT_ONLY = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NO_CALLS = embedded.tiny_tokenizer()
NO_CALLS.chat_template = CONTENT_ONLY
CALL = {"type": "function", "function": {"name": "clock", "arguments": {"city": "Oslo"}}}


def conversation(**reply: Any) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": "How late is it in Oslo?"},
            {"role": "assistant", **reply},
            {"role": "user", "content": "Thanks."},
            {"role": "assistant", "content": "You are welcome."},
        ]
    }


def said(row: dict[str, Any], tokenizer: Any = NO_CALLS, strategy: Any = "assistant-only", **options: Any) -> list[str]:
    """What is said of replies that are not printed, of all examples of a row."""
    examples = Masker(tokenizer, strategy, **options).examples(row)
    return [finding.message for example in examples for finding in example.warnings if finding.code == "reply-not-printed"]


def test_a_call_that_is_not_printed_teaches_to_say_nothing():
    assert said(conversation(content="", tool_calls=[CALL])) == [
        "the template prints nothing of messages[1].tool_calls, and the stop token behind it is trained"
    ]


def test_so_it_is_in_the_example_that_serves_the_reply_alone():
    assert len(said(conversation(content="", tool_calls=[CALL]), history="as-served")) == 1


def test_reasoning_that_is_not_printed_does_too():
    assert "messages[1].reasoning_content," in said(conversation(content="", reasoning_content="The clock says ten."))[0]


@pytest.mark.parametrize("reply", [
    {"content": "I look.", "tool_calls": [CALL]},
    {"content": ""},
    {"content": "Ten."},
])  # fmt: skip
def test_what_is_printed_or_empty_in_the_data_is_not_told(reply: dict[str, Any]):
    assert said(conversation(**reply)) == []


def test_a_template_with_a_place_for_calls_has_none():
    assert said(conversation(content="", tool_calls=[CALL]), embedded.tiny_tokenizer()) == []


@pytest.mark.parametrize("strategy", [
    {"name": "weighted", "answer": 0, "stop": 1},
    {"name": "assistant-only", "last_turn": True},
    {"name": "from-data"},
    "causal",
])  # fmt: skip
def test_it_is_asked_of_trained_stop_tokens_alone(strategy: Any):
    row = conversation(content="I look.", tool_calls=[CALL])
    silent = conversation(content="", tool_calls=[CALL], weight=0)
    assert said(row, strategy=strategy) == []
    assert bool(said(silent, strategy=strategy)) == (strategy == {"name": "weighted", "answer": 0, "stop": 1})


@pytest.mark.parametrize("example", ["smollm2.yaml", "smollm2_lora.yaml"])
def test_the_rule_of_the_examples_avoids_it(example: str):
    strategy = RunConfig.load(EXAMPLES / example).strategy
    assert said(conversation(content="", tool_calls=[CALL]), strategy=strategy) == []


def test_tags_around_nothing_say_nothing():
    tokenizer = embedded.tiny_tokenizer()
    tokenizer.chat_template = CONTENT_ONLY.replace("{{ m.content }}", "{{ '<think>\n</think>' if m.role == 'assistant' }}{{ m.content }}")
    assert len(said(conversation(content="", tool_calls=[CALL]), tokenizer)) == 1


def test_a_reply_cut_off_by_truncation_is_none():
    row = conversation(content="I look it up for you.", tool_calls=[CALL])
    for length in range(8, 60, 4):
        assert said(row, max_length=length, truncation="turns") == []


@pytest.mark.parametrize(("name", "expected"), [("deepseek_v3", 1), ("qwen3", 0), ("gptoss", 0)])
def test_of_real_templates(name: str, expected: int):
    assert len(said(conversation(content="", tool_calls=[CALL]), real_tokenizer(name))) == expected
