"""On real tokenizers: transformers' text, and ids that are those of the text."""

from __future__ import annotations

import pytest

from maskkit.chat import ChatRenderer
from maskkit.errors import TemplateError
from tests.chat.conversations import CONVERSATIONS
from tests.chat.looking import check_cover, codes
from tests.real import TOKENIZERS, real_tokenizer


@pytest.mark.parametrize("name", TOKENIZERS)
def test_text_and_ids_are_those_of_transformers(name: str) -> None:
    tokenizer = real_tokenizer(name)
    renderer = ChatRenderer(tokenizer)
    exact = 0
    for row in CONVERSATIONS.values():
        arguments = {"tools": row.tools, **row.template_kwargs}
        try:
            rendered = renderer.render(row)
        except TemplateError:
            with pytest.raises(Exception):  # noqa: B017, PT011 (a template may raise anything)
                tokenizer.apply_chat_template(list(row.messages), tokenize=False, **arguments)
            continue
        check_cover(rendered)
        assert rendered.text == tokenizer.apply_chat_template(list(row.messages), tokenize=False, **arguments)
        ids = tokenizer(rendered.text, add_special_tokens=False)["input_ids"]
        assert ids == tokenizer.apply_chat_template(list(row.messages), tokenize=True, return_dict=False, **arguments)
        exact += "unknown-text" not in codes(rendered)
    assert exact >= {"qwen3": 13, "llama3_1": 12, "gptoss": 10, "deepseek_v3": 10}[name]


@pytest.mark.parametrize(
    ("name", "stop"),
    [("qwen3", "<|im_end|>"), ("llama3_1", "<|eot_id|>"), ("gptoss", "<|return|>"), ("deepseek_v3", "<｜end▁of▁sentence｜>")],
)
def test_the_stop_token_is_the_models(name: str, stop: str) -> None:
    renderer = ChatRenderer(real_tokenizer(name))
    assert {renderer.tokenizer.convert_ids_to_tokens(i) for i in renderer.stop_token_ids} == {stop}
    rendered = renderer.render(CONVERSATIONS["plain"])
    assert [rendered.text[s.start : s.end] for s in rendered.segments if s.kind == "stop"] == [stop]
