"""Tokenizers of every sort: ids as transformers', offsets that cover the text, tokens of one character alike."""

from __future__ import annotations

import copy
import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import maskkit
from tests.chat.tokenizers import DATE, transformers_text
from tests.masker.tokenizers import SORTS, TEMPLATE, tokenizer_of
from tests.real import TOKENIZERS, real_tokenizer

DROPS_BLANKS = {"wordpiece"}
TEXTS = [
    "two  blanks \n and more ",
    "e\u0301te\u0301 \u0301",  # combining accents, one of them alone
    "ﬁ ½ Ａ İstanbul ẞ",  # what NFKC takes apart, what lower case makes two of
    "👩‍👩‍👧 🐕‍🦺👍🏽",
    "مرحبا שלום \u202bright\u202c",
    "nul\0 in \x07 here",
    "\u1112\u1161\u11ab\u0e33 क्षि",  # jamo that compose, vowels that combine
]


def masker(sort: str, **options) -> maskkit.Masker:
    return maskkit.Masker(tokenizer_of(sort), **options)


def conversation(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(texts)]


def check_row(sort: str, messages: list[dict[str, str]], made: maskkit.Example, tokenizer=None) -> None:
    """Ids are transformers'; characters are covered or rightly have no token; tokens of a character are alike and in order."""
    tokenizer, tokens = tokenizer or tokenizer_of(sort), made.tokens
    assert made.input_ids.tolist() == tokenizer(transformers_text(tokenizer, messages), add_special_tokens=False)["input_ids"]
    covered = np.zeros(len(tokens.text), bool)
    for start, end in zip(tokens.char_start, tokens.char_end, strict=True):
        covered[start:end] = True
    for at in np.flatnonzero(~covered):
        character = tokens.text[at]
        blank = character.isspace() and sort in DROPS_BLANKS
        # BERT drops accents and control characters as it normalises; behind a blank they belong to no word
        dropped = unicodedata.category(character) in ("Mn", "Cc", "Cf") and sort in DROPS_BLANKS
        assert blank or dropped, f"{character!r} at {at} has no token"
    assert (np.diff(tokens.char_end) >= 0).all()
    for at in range(len(tokens.text)):
        of_character = np.flatnonzero((tokens.char_start <= at) & (tokens.char_end > at))
        assert len({(tokens.kind[i], tokens.generated[i], tokens.message[i], made.loss_weights[i]) for i in of_character}) <= 1


@pytest.mark.parametrize("sort", SORTS)
def test_every_text_in_every_place(sort):
    for text in TEXTS:
        messages = conversation(text, text, "plain", text + text)
        check_row(sort, messages, masker(sort)({"messages": messages}))


@pytest.mark.parametrize("sort", SORTS)
def test_prompt_and_reply_never_mix(sort):
    """Whatever is weighed lies in what the model writes, to the character."""
    messages = conversation("Is it true?", "Yes, it is.")
    made = masker(sort)({"messages": messages})
    tokens = made.tokens
    trained = "".join(tokens.piece(i) for i in np.flatnonzero(made.loss_weights))
    assert trained.replace(" ", "") == "Yes,itis.<|im_end|>"
    begin = tokens.text.index("Yes")
    assert (tokens.char_start[made.loss_weights > 0] >= begin).all()


@pytest.mark.parametrize("sort", ["byte_level_trimmed", "byte_level_prefix", "tiktoken", "sentencepiece_bpe"])
def test_a_token_that_joins_the_prompts_blank_to_a_reply_straddles(sort):
    """Templates that end their header with a blank: `` Yes`` is neither the prompt's nor the reply's."""
    blank = TEMPLATE.replace("{{ message['role'] }}\n", "{{ message['role'] }}: ").replace("assistant\n", "assistant: ")
    made = maskkit.Masker(tokenizer_of(sort, blank))({"messages": conversation("Is it?", "it is")})
    first = int(np.flatnonzero(made.tokens.generated)[0])
    assert made.tokens.piece(first) == " it"
    assert made.tokens.straddle[first]
    assert made.loss_weights[first] == 0
    assert made.loss_weights[first + 1] == 1


letters = st.one_of(
    st.sampled_from("ab eé\u0301ﬁ½\u200d👩🐕🦺ねこمرח\n\t\0Ａİ\u1112\u1161\u11ab▁Ġ<|>/"),
    st.characters(exclude_categories=["Cs", "Co", "Cn"]),
)
texts = st.text(letters, max_size=20)


@pytest.mark.parametrize("sort", SORTS)
@settings(max_examples=20, deadline=None)
@given(asked=texts, replied=texts)
@example(asked="x", replied="\u0301")
@example(asked="", replied="")
def test_any_text(sort, asked, replied):
    messages = conversation(asked, replied)
    check_row(sort, messages, masker(sort)({"messages": messages}))


@pytest.mark.parametrize("name", [*TOKENIZERS, "llama2", "claude"])
def test_real_tokenizers_cover_every_text(name):
    """SentencePiece's blanks and bytes (llama2) and NFKC with trimmed offsets (claude) beside the byte-level families."""
    tokenizer = real_tokenizer(name)
    if name in ("llama2", "claude"):
        tokenizer = copy.copy(tokenizer)
        tokenizer.chat_template = TEMPLATE
        assert tokenizer.backend_tokenizer.get_added_tokens_decoder()
    for text in TEXTS:
        messages = conversation(text, "Yes, " + text, "plain", text + text)
        check_row(name, messages, maskkit.Masker(tokenizer, date=DATE)({"messages": messages}), tokenizer)


@pytest.mark.parametrize("sort", SORTS)
def test_half_a_character_is_named_with_row_and_field(sort):
    rows = [{"messages": conversation("fine", "fine")}, {"messages": conversation("fine", "half \ud83d")}]
    with pytest.raises(maskkit.DataError, match=r"row 1: messages\[1\]\.content has half a character \(\\ud83d\) at position 5"):
        masker(sort).batch(rows)


def test_a_tokenizer_without_offsets_is_refused_by_name():
    from transformers.tokenization_python import PythonBackend

    class Slow(PythonBackend):
        vocab_size = 1

        def get_vocab(self) -> dict[str, int]:
            return {"a": 0}

        def _tokenize(self, text: str, **kwargs: object) -> list[str]:
            return list(text)

        def _convert_token_to_id(self, token: str) -> int:
            return 0

        def _convert_id_to_token(self, index: int) -> str:
            return "a"

    with pytest.raises(maskkit.TokenizerError, match=r"Slow gives no character offsets.*fast tokenizer"):
        maskkit.Masker(Slow())
