"""history: as-served: each reply behind the prompt that a server rendered at that moment."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import maskkit
from maskkit.errors import TemplateError
from maskkit.masker import ControlTokens
from tests.campaigns.conversations import ALL
from tests.chat.conversations import CONVERSATIONS
from tests.chat.tokenizers import DATE, tokenizer_for, transformers_text
from tests.masker.tokenizers import SORTS, TEMPLATE, tokenizer_of
from tests.real import TOKENIZERS, real_tokenizer, trl_template, trl_templates

TWO_REPLIES = {
    "messages": [
        {"role": "user", "content": "Is it?"},
        {"role": "assistant", "reasoning_content": "Let me see.", "content": "Yes."},
        {"role": "user", "content": "Really?"},
        {"role": "assistant", "reasoning_content": "Again.", "content": "Really."},
    ]
}


def served(tokenizer, **options) -> maskkit.Masker:
    return maskkit.Masker(tokenizer, history="as-served", date=DATE, **options)


def texts(tokenizer, example: maskkit.Example) -> tuple[str, str]:
    """What is not trained, and what is."""
    trained = example.loss_weights > 0
    return tokenizer.decode(example.input_ids[~trained]), tokenizer.decode(example.input_ids[trained])


def test_each_reply_is_trained_behind_its_own_prompt():
    """Qwen3's template drops earlier thinking: as rendered, the first reply never followed the prompt it is trained behind."""
    tokenizer = real_tokenizer("qwen3")
    rendered = maskkit.Masker(tokenizer)(TWO_REPLIES)
    assert "history-rewritten" in {finding.code for finding in rendered.warnings} or "dropped-text" in {f.code for f in rendered.warnings}
    first, second = served(tokenizer).examples(TWO_REPLIES)
    opening = "<|im_start|>user\nIs it?<|im_end|>\n<|im_start|>assistant\n"
    assert texts(tokenizer, first) == (opening, "<think>\nLet me see.\n</think>\n\nYes.<|im_end|>")
    later = "Yes.<|im_end|>\n<|im_start|>user\nReally?<|im_end|>\n<|im_start|>assistant\n"
    assert texts(tokenizer, second) == (opening + later, "<think>\nAgain.\n</think>\n\nReally.<|im_end|>")
    assert first.warnings == second.warnings == ()
    assert [set(example.tokens.message[example.loss_weights > 0]) for example in (first, second)] == [{1}, {3}]
    assert [example.tokens.reply for example in (first, second)] == [1, 3]
    assert first.tokens.record.source == "row, message 1"
    assert first.tokens.row_key == second.tokens.row_key
    assert first.tokens.seed != second.tokens.seed


def test_every_door_gives_all_replies():
    tokenizer = tokenizer_of("byte_level")
    masker = served(tokenizer)
    one = masker.examples(TWO_REPLIES)
    assert len(one) == 2
    ids = [example.input_ids.tolist() for example in one]
    assert [example.input_ids.tolist() for example in masker.batch([TWO_REPLIES, TWO_REPLIES])] == ids * 2
    assert [column.tolist() for column in masker.encode_batch({"messages": [TWO_REPLIES["messages"]]})["input_ids"]] == ids
    with pytest.raises(maskkit.DataError, match=r"the row makes 2 examples under history: as-served.*masker\.examples\(row\)"):
        masker(TWO_REPLIES)
    single = {"messages": TWO_REPLIES["messages"][:2]}
    assert masker(single).input_ids.tolist() == masker.examples(single)[0].input_ids.tolist()


def test_rows_are_read_one_by_one():
    """An endless stream of rows gives its first examples."""

    def rows():
        while True:
            yield TWO_REPLIES

    stream = served(tokenizer_of("byte_level")).stream(rows())
    assert [next(stream).tokens.record.source for _ in range(3)] == ["row 0, message 1", "row 0, message 3", "row 1, message 1"]


@pytest.mark.parametrize("strategy", ["causal", {"name": "weighted", "user": 1.0, "answer": 0.5}, "assistant-only"], ids=str)
def test_no_strategy_trains_the_prompt(strategy):
    for example in served(tokenizer_of("byte_level"), strategy=strategy).examples(TWO_REPLIES):
        trained = example.loss_weights > 0
        assert trained.any()
        assert example.tokens.generated[trained].all()
        assert set(example.tokens.message[trained]) == {example.tokens.reply}


def test_rows_without_a_chat_template_are_as_ever():
    tokenizer = tokenizer_of("byte_level")
    for row, strategy in (({"prompt": "2 + 3 =", "completion": " 5"}, "assistant-only"), ({"text": "Yes it is"}, "causal")):
        as_rendered, as_served = maskkit.Masker(tokenizer, strategy)(row), served(tokenizer, strategy=strategy)(row)
        assert as_rendered.input_ids.tolist() == as_served.input_ids.tolist()
        assert as_rendered.loss_weights.tolist() == as_served.loss_weights.tolist()


GREETED = {"messages": [{"role": "assistant", "content": "Hi."}, *TWO_REPLIES["messages"]]}


def test_a_greeting_is_served_with_the_prompt_of_no_messages():
    tokenizer = tokenizer_of("byte_level")
    greeting, *others = served(tokenizer).examples(GREETED)
    assert len(others) == 2
    (prompt,) = tokenizer.apply_chat_template([[]], add_generation_prompt=True, tokenize=True, return_dict=False)
    assert greeting.input_ids[: len(prompt)].tolist() == prompt
    assert texts(tokenizer, greeting) == (tokenizer.decode(prompt), "Hi.<|im_end|>")


def test_what_cannot_be_served_is_counted():
    masker = served(tokenizer_of("byte_level", "{{ messages[0]['role'] }}" + TEMPLATE))
    assert masker.examples({"messages": [{"role": "user", "content": "Hello?"}]}) == []
    assert len(masker.examples(GREETED)) == 2
    assert masker.counts == {"no-reply": 1, "prompt-refused": 1}
    with pytest.raises(maskkit.DataError, match="the row has no assistant message"):
        masker({"messages": [{"role": "user", "content": "Hello?"}]})


def test_a_reply_that_its_prompt_does_not_lead_to_is_said():
    """The prompt opens the reasoning, and the template prints none."""
    template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
    )
    tokenizer = tokenizer_of("byte_level", template)
    example = served(tokenizer).examples({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})[0]
    assert texts(tokenizer, example) == ("<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<think>\n", "b<|im_end|>")
    assert [finding.code for finding in example.warnings] == ["reply-differs"]
    assert set(example.tokens.kind[example.tokens.char_start >= example.tokens.text.index("<think>")][:2]) == {"template"}


def test_a_stop_that_is_the_next_roles_marker_is_served_too():
    """GLM's replies end where the next message begins; the last one of a row has no such end."""
    tokenizer = tokenizer_for(trl_template("glm4moe"))
    first, second = served(tokenizer).examples(TWO_REPLIES)
    assert texts(tokenizer, first)[1].endswith("Yes.<|user|>")
    assert first.tokens.kind[-1] == "stop"
    assert first.warnings == ()
    assert texts(tokenizer, second)[1].endswith("Really.")
    assert [finding.code for finding in second.warnings] == ["no-stop"]


@pytest.mark.parametrize("sort", ["byte_level", "sentencepiece_bpe", "sentencepiece_bpe_legacy"])
def test_typed_control_tokens_are_text_in_prompt_and_reply(sort):
    tokenizer = tokenizer_of(sort)
    messages = [{"role": "user", "content": "a <|im_end|>"}, {"role": "assistant", "content": "b <|im_end|> c<|im_end|>"}]
    (example,) = served(tokenizer).examples({"messages": messages})
    assert len(ControlTokens(tokenizer).among(example.input_ids)) == 5
    assert tokenizer.convert_ids_to_tokens(int(example.input_ids[-1])) == "<|im_end|>"
    assert [(finding.code, finding.count) for finding in example.warnings] == [("control-tokens", 3)]


@pytest.mark.parametrize("sort", SORTS)
def test_no_tokenizer_begins_a_text_where_the_model_goes_on(sort):
    """Apart, many tokenizers would put a blank before the reply; together with its prompt the reply reads as the template has it."""
    tokenizer = tokenizer_of(sort)
    plain = [{name: said for name, said in message.items() if name != "reasoning_content"} for message in TWO_REPLIES["messages"]]
    for example in served(tokenizer).examples({"messages": plain}):
        whole = tokenizer(example.tokens.text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(example.input_ids.tolist()) == tokenizer.decode(whole)


def test_llama_2_goes_on_without_a_second_blank():
    tokenizer = copy.copy(real_tokenizer("llama2"))
    asked, replied = "<s>[INST] {{ m['content'] }} [/INST]", " {{ m['content'] }} </s>"
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'user' %}" + asked + "{% else %}" + replied + "{% endif %}{% endfor %}"
    )
    for example in served(tokenizer).examples(TWO_REPLIES):
        assert example.input_ids.tolist() == tokenizer(example.tokens.text, add_special_tokens=False)["input_ids"]
        assert tokenizer.convert_ids_to_tokens(int(example.input_ids[np.flatnonzero(example.loss_weights)[0]])) in ("▁Yes", "▁Really")


def check_served(tokenizer, row, arguments) -> int:
    """Prompt ids are transformers' own for the messages before each reply; what follows is that reply and nothing else is trained."""
    masker = served(tokenizer)
    record = {
        "messages": list(row.messages),
        "tools": row.tools,
        "documents": row.documents,
        "chat_template_kwargs": dict(row.template_kwargs),
    }
    try:
        tables, left_out = masker.tables(record)
    except TemplateError:
        return 0
    replies = [i for i, message in enumerate(row.messages) if message["role"] == "assistant"]
    assert len(tables) + len(left_out) == len(replies)
    assert {finding.code for finding in left_out} <= {"prompt-refused", "no-reply"}
    for tokens, _ in tables:
        i = tokens.reply
        prompt = transformers_text(tokenizer, row.messages[:i], add_generation_prompt=True, **arguments)
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        assert tokens.ids[: len(ids)].tolist() == ids
        assert not tokens.generated[: len(ids)].any()
        reply = tokens.text[len(prompt) :]
        assert tokens.text.startswith(prompt)
        assert tokens.ids[len(ids) :].tolist() == tokenizer(reply, add_special_tokens=False)["input_ids"]
        assert set(tokens.message[tokens.generated]) == {i}
        assert tokens.generated[-1]
    return len(tables)


@pytest.mark.parametrize(
    "conversation", ["two turns", "reasoning twice", "tools and reasoning", "two calls", "empty answer", "call after call"]
)
def test_every_template_serves_every_reply(conversation):
    """Over all templates of the trl wheel; those with markers for training are variants of others."""
    row = ALL[conversation]
    templates = {text for name, text in trl_templates().items() if not name.endswith("_training")}
    made = sum(check_served(tokenizer_for(template), row, {"tools": row.tools, **row.template_kwargs}) for template in sorted(templates))
    assert made >= len(templates)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_real_tokenizers_serve_every_reply(name):
    made = [check_served(real_tokenizer(name), row, {"tools": row.tools, **row.template_kwargs}) for row in CONVERSATIONS.values()]
    assert sum(made) >= 15


said = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["qwen3", "llama3_1", "gptoss", "phi3", "gemma"]), st.lists(st.tuples(said, said), min_size=1, max_size=3))
def test_any_conversation_is_served_as_transformers_renders_it(family, turns):
    templates = trl_templates()
    tokenizer = tokenizer_for(trl_template(family if family in templates else "qwen3"))
    messages = [
        {"role": role, "content": text} for pair in turns for role, text in zip(("user", "assistant"), pair, strict=True)
    ]  # fmt: skip
    masker = served(tokenizer, control_tokens="allow")
    for example in masker.examples({"messages": messages}):
        prompt = transformers_text(tokenizer, messages[: example.tokens.reply], add_generation_prompt=True)
        assert example.tokens.text.startswith(prompt)
        ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        assert example.input_ids[: len(ids)].tolist() == ids
        assert not example.loss_weights[: len(ids)].any()
