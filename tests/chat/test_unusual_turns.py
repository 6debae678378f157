"""Turns that are not a question and its answer: beginnings to continue, images, other tags, empty replies, no reply at all."""

from __future__ import annotations

from typing import Any

import pytest

from maskkit.chat import ChatRenderer
from maskkit.chat.segments import RenderedText
from maskkit.errors import TemplateError
from tests.chat.conversations import TOOLS, Row, assistant, call, tool, user
from tests.chat.families_on_file import marked_text
from tests.chat.looking import check_cover, codes
from tests.chat.tokenizers import renderer_for, tokenizer_for
from tests.real import trl_template

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.reasoning_content %}{{ '<think>\n' + m.reasoning_content + '\n</think>\n\n' }}{% endif %}"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}"
    "{{ '<|image_pad|>' if part.type == 'image' else '<|audio|>' if part.type == 'audio' else part.text }}"
    "{% endfor %}{% endif %}"
    "{{ '' if m.prefix else '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CONTINUED: dict[str, Any] = {"template_kwargs": {"continue_final_message": True}}


def render(*messages: dict[str, Any], template: str = CHATML, **fields: Any) -> RenderedText:
    rendered = renderer_for(template).render(Row(messages, **fields))
    check_cover(rendered)
    return rendered


def reply(rendered: RenderedText) -> str:
    """The marked text behind the last header."""
    return marked_text(rendered).rpartition("<|im_start|>assistant\n")[2]


# -- beginnings of replies ---------------------------------------------------------------------------------------


def test_a_message_to_be_continued_is_an_answer_that_the_model_did_not_write() -> None:
    messages = (user("2+2?"), assistant("It is"))
    rendered = render(*messages, **CONTINUED)
    assert reply(rendered) == "⟨answer:It is⟩"
    tokenizer = tokenizer_for(CHATML)
    assert rendered.text == tokenizer.apply_chat_template(list(messages), tokenize=False, continue_final_message=True)
    assert codes(rendered) == []


def test_earlier_replies_are_the_models_all_the_same() -> None:
    rendered = render(user("a"), assistant("b"), user("c"), assistant("d"), **CONTINUED)
    assert "⟦answer:b⟧⟦stop:<|im_end|>⟧" in marked_text(rendered)
    assert reply(rendered) == "⟨answer:d⟩"


def test_reasoning_can_be_continued_too() -> None:
    row = {"template_kwargs": {"continue_final_message": "reasoning_content"}}
    rendered = render(user("a"), assistant("", reasoning_content="Hm, "), **row)
    assert reply(rendered) == "⟨reasoning:<think>\nHm, ⟩"


def test_thinking_inside_a_beginning_is_told_from_the_answer() -> None:
    assert reply(render(user("a"), assistant("<think>x</think>So"), **CONTINUED)) == "⟨reasoning:<think>x</think>⟩⟨answer:So⟩"


def test_a_beginning_in_parts() -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    assert reply(render(user("a"), assistant(parts), **CONTINUED)) == "⟨answer:one two⟩"


def test_a_template_that_strips_what_is_continued() -> None:
    template = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content.strip() + '<|im_end|>\n' }}{% endfor %}"
    template += "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    messages = (user("a"), assistant("It is  "))
    rendered = render(*messages, template=template, **CONTINUED)
    assert reply(rendered) == "⟨answer:It is⟩"
    assert rendered.text == tokenizer_for(template).apply_chat_template(list(messages), tokenize=False, continue_final_message=True)


@pytest.mark.parametrize("name", ["qwen3", "llama3_1", "gptoss", "deepseekv3", "gemma3", "glm4moe"])
def test_real_templates_continue_as_transformers_does(name: str) -> None:
    template = trl_template(name)
    messages = (user("2+2?"), assistant("It is"))
    rendered = render(*messages, template=template, **CONTINUED)
    assert rendered.text.endswith("It is")
    assert not any(segment.generated for segment in rendered.segments)
    assert rendered.segments[-1].kind == "answer"


def test_nothing_of_a_prefix_message_is_the_models() -> None:
    assert reply(render(user("a"), assistant("It is", prefix=True))) == "⟨answer:It is⟩"


def test_continuing_is_a_matter_of_single_rows() -> None:
    renderer = ChatRenderer(tokenizer_for(CHATML), template_kwargs={"continue_final_message": True})
    with pytest.raises(TemplateError, match="row 1: continue_final_message is set for all rows"):
        renderer.render(Row((user("a"), assistant("b"))))


def test_what_transformers_cannot_continue_is_refused_in_its_words() -> None:
    with pytest.raises(TemplateError, match=r'row 1: .*has no "content" to continue'):
        render(user("a"), assistant(reasoning_content="r"), **CONTINUED)


# -- no reply, empty replies -------------------------------------------------------------------------------------


def test_a_conversation_that_ends_with_a_user_trains_what_came_before() -> None:
    rendered = render(user("a"), assistant("b"), user("c"))
    assert marked_text(rendered).endswith("⟦answer:b⟧⟦stop:<|im_end|>⟧\n<|im_start|>user\n⟨user:c⟩<|im_end|>\n")
    assert codes(rendered) == []
    assert not any(segment.generated for segment in render(user("a")).segments)


def test_an_empty_reply_is_its_stop_token() -> None:
    rendered = render(user("a"), assistant(""), user("c"), assistant("d"))
    assert "<|im_start|>assistant\n⟦stop:<|im_end|>⟧\n<|im_start|>user" in marked_text(rendered)
    assert codes(rendered) == []


def test_a_reply_of_blanks_is_an_answer() -> None:
    assert reply(render(user("a"), assistant(" \n"))) == "⟦answer: \n⟧⟦stop:<|im_end|>⟧\n"


def test_replies_in_a_row_are_replies_each() -> None:
    assert marked_text(render(user("a"), assistant("b"), assistant("c"))).count("⟦stop:<|im_end|>⟧") == 2


# -- roles and fields --------------------------------------------------------------------------------------------


def test_a_developer_says_system_text() -> None:
    rendered = render({"role": "developer", "content": "Be kind."}, user("a"), assistant("b"))
    assert marked_text(rendered).startswith("<|im_start|>developer\n⟨system:Be kind.⟩")


def test_several_calls_and_results_in_one_turn() -> None:
    calls = [call({"city": name}) for name in ("Rome", "Oslo", "Bonn")]
    results = [tool("31"), tool("22"), tool("25")]
    messages = (user("u"), assistant("", tool_calls=calls), *results, assistant("Rome."))
    marked = marked_text(render(*messages, template=trl_template("qwen2_5"), tools=TOOLS))
    assert marked.count("⟦tool_call:") == 1
    assert marked.count("</tool_call>⟧⟦stop:<|im_end|>⟧") == 1
    assert [f"⟨tool_result:{value}⟩" in marked for value in (31, 22, 25)] == [True] * 3


# -- images and audio --------------------------------------------------------------------------------------------


def test_a_users_image_is_scaffolding_in_the_users_turn() -> None:
    rendered = render(user([{"type": "image"}, {"type": "text", "text": "What?"}]), assistant("A cat"))
    assert marked_text(rendered).startswith("<|im_start|>user\n<|image_pad|>⟨user:What?⟩<|im_end|>")
    assert codes(rendered) == ["media-placeholder"]


@pytest.mark.parametrize(("part", "placeholder"), [("image", "<|image_pad|>"), ("audio", "<|audio|>")])
def test_a_placeholder_in_a_reply_is_never_the_models(part: str, placeholder: str) -> None:
    parts = [{"type": "text", "text": "See "}, {"type": part}, {"type": "text", "text": " there"}]
    rendered = render(user("u"), assistant(parts))
    assert reply(rendered) == f"⟦answer:See ⟧{placeholder}⟦answer: there⟧⟦stop:<|im_end|>⟧\n"
    last = render(user("u"), assistant(parts[:2]))
    assert reply(last) == f"⟦answer:See ⟧{placeholder}⟦stop:<|im_end|>⟧\n"


def test_the_name_of_a_placeholder_in_text_is_text() -> None:
    rendered = render(user("u"), assistant([{"type": "text", "text": "<|image_pad|> is a token"}]))
    assert reply(rendered) == "⟦answer:<|image_pad|> is a token⟧⟦stop:<|im_end|>⟧\n"


@pytest.mark.parametrize("name", ["qwen2_5_vl", "gemma3", "idefics3", "llava_next", "smolvlm"])
def test_real_templates_with_images(name: str) -> None:
    question = user([{"type": "image"}, {"type": "text", "text": "What user1?"}])
    rendered = render(question, assistant([{"type": "text", "text": "A cat"}]), template=trl_template(name))
    assert "⟦answer:" in marked_text(rendered)
    assert "unknown-text" not in codes(rendered)
    image = next(index for index, s in enumerate(rendered.segments) if s.kind == "user")
    assert not any(segment.generated for segment in rendered.segments[:image])


# -- tags of one's own -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<plan>a</plan>b", "⟦reasoning:<plan>a</plan>⟧⟦answer:b⟧"),
        ("a</plan>\n\nb", "⟦reasoning:a</plan>\n\n⟧⟦answer:b⟧"),
        ("<think>a</think>b", "⟦reasoning:<think>a</think>⟧⟦answer:b⟧"),
    ],
)
def test_reasoning_tags_can_be_given(content: str, expected: str) -> None:
    renderer = ChatRenderer(tokenizer_for(CHATML), reasoning_tags=[("<plan>", "</plan>")])
    assert reply(renderer.render(Row((user("u"), assistant(content))))) == f"{expected}⟦stop:<|im_end|>⟧\n"
    if "plan" in content:
        assert reply(render(user("u"), assistant(content))) == f"⟦answer:{content}⟧⟦stop:<|im_end|>⟧\n"


def test_given_tags_that_a_template_writes() -> None:
    template = CHATML.replace("<think>", "<plan>").replace("</think>", "</plan>")
    renderer = ChatRenderer(tokenizer_for(template), reasoning_tags=[("<plan>", "</plan>")])
    rendered = renderer.render(Row((user("u"), assistant("b", reasoning_content="a"))))
    assert reply(rendered) == "⟦reasoning:<plan>\na\n</plan>\n\n⟧⟦answer:b⟧⟦stop:<|im_end|>⟧\n"
