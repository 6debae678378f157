"""Offsets from the bytes of tokens are the tokenizer's own, or none."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from maskkit.masker.by_bytes import EncoderByBytes
from maskkit.masker.stand_ins import copied
from tests.masker.tokenizers import SORTS, tokenizer_of
from tests.real import TOKENIZERS, real_tokenizer

TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from(list("aé ねこ👩‍👩‍👧e\u0301\n▁Ġ")), max_size=30)
BYTE_LEVEL = ("byte_level", "byte_level_trimmed", "tiktoken")


def check(tokenizer, encoder: EncoderByBytes, text: str) -> bool:
    """Were there offsets? Then they are those of a copy of the tokenizer that trims none."""
    made = encoder(text)
    if made is None:
        return False
    exact, real = copied(tokenizer.backend_tokenizer, {})
    asked = exact.encode(text, add_special_tokens=False)
    assert made.ids.tolist() == [real.get(token_id, token_id) for token_id in asked.ids]
    assert list(zip(made.start.tolist(), made.end.tolist(), strict=True)) == asked.offsets
    assert made.ids.tolist() == tokenizer(text, add_special_tokens=False)["input_ids"]
    return True


@pytest.mark.parametrize("sort", SORTS)
@given(text=TEXTS)
@example(text=" <|im_start|> a <think> b</think><|im_end|>\n")
@settings(max_examples=60, deadline=None)
def test_offsets_are_the_tokenizers_own(sort, text):
    tokenizer = tokenizer_of(sort)
    found = check(tokenizer, EncoderByBytes(tokenizer), text)
    assert found or not text or sort not in BYTE_LEVEL  # these take every text as it is


@pytest.mark.parametrize("name", TOKENIZERS)
def test_real_tokenizers_are_asked_for_ids_alone(name):
    tokenizer = real_tokenizer(name)
    for text in ("Where? 東京 👩‍👩‍👧 naïve\n\n\tx = 1  ", "a" * 500, "\u202bright\u202c nul\0"):
        assert check(tokenizer, EncoderByBytes(tokenizer), text)


@pytest.mark.parametrize("manners", [{"lstrip": True}, {"rstrip": True}])
@pytest.mark.parametrize("sort", ["byte_level", "sentencepiece_bpe_legacy"])
def test_tokens_that_take_blanks_are_left_to_the_tokenizer(sort, manners):
    from tokenizers import AddedToken

    tokenizer = copy.deepcopy(tokenizer_of(sort))
    tokenizer.add_tokens([AddedToken("<blank>", **manners)])
    assert EncoderByBytes(tokenizer)("one <blank> two") is None


def test_what_the_tokenizer_was_told_last_counts():
    """transformers leaves its last call's cutting and padding in the backend, and undoes it in the next."""
    tokenizer = copy.deepcopy(tokenizer_of("byte_level"))
    encoder = EncoderByBytes(tokenizer)
    assert encoder("one two three") is not None
    tokenizer("one two three", truncation=True, max_length=2)
    assert encoder("one two three") is None
    tokenizer("one two three")
    tokenizer.pad_token = "<unk>"
    tokenizer(["one", "one two three"], padding=True)
    assert encoder("one two three") is None
    tokenizer("one two three")
    assert encoder("one two three") is not None
    ended = tokenizer("one<|im_end|>", add_special_tokens=False)["input_ids"]
    tokenizer("one<|im_end|>", split_special_tokens=True)
    assert encoder("one<|im_end|>") is None
    assert tokenizer("one<|im_end|>", add_special_tokens=False)["input_ids"] == ended
    made = encoder("one<|im_end|>")
    assert made is not None
    assert made.ids.tolist() == ended
    tokenizer.split_special_tokens = True
    assert encoder("one two three<|im_end|>") is None


def test_classes_that_change_the_text_first_are_asked():
    class Shouting(PreTrainedTokenizerFast):
        def __call__(self, text, *args, **kwargs):
            return super().__call__(text.upper(), *args, **kwargs)

    shouting = Shouting(tokenizer_object=tokenizer_of("byte_level").backend_tokenizer)
    assert EncoderByBytes(shouting)("a") is None


def test_it_goes_to_other_processes():
    encoder = EncoderByBytes(tokenizer_of("tiktoken"))
    first, again = encoder("one é"), pickle.loads(pickle.dumps(encoder))("one é")
    assert first is not None
    assert again is not None
    assert first.end.tolist() == again.end.tolist()
