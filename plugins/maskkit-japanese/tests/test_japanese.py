"""Each type of bunsetsu and of sentence has its weight."""

import os

import numpy as np
import pytest

import maskkit
from maskkit import plugins
from maskkit.testing import StrategyConformance

if not any(row.origin == "maskkit-japanese" for row in plugins.plugin_rows()) and not os.environ.get("MASKKIT_REQUIRE_REAL"):
    pytest.skip("not installed: pip install ./plugins/maskkit-japanese", allow_module_level=True)

import itertools

import maskkit_japanese

ANSWER = "えー、東京の天気は晴れです。傘を持って行きますか？駅で待ってください。しかし、雨が降るかもしれません。"

ROW = {"messages": [{"role": "user", "content": "天気は？"}, {"role": "assistant", "content": ANSWER}]}


class TestConformance(StrategyConformance):
    strategy = "japanese"
    whole_row = True


def types(sentence: str) -> list[tuple[str, str]]:
    parts = maskkit_japanese.bunsetsu(maskkit_japanese.morphemes(sentence))
    return [("".join(word.surface for word in part), maskkit_japanese.bunsetsu_type(part)) for part in parts]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("東京の天気は晴れです。", [("東京の", "modifier"), ("天気は", "topic"), ("晴れです。", "predicate")]),
        ("傘を持って行きますか？", [("傘を", "object"), ("持って行きますか？", "predicate")]),
        ("駅で待ってください。", [("駅で", "oblique"), ("待ってください。", "predicate")]),
        ("しかし、雨が降る。", [("しかし、", "connective"), ("雨が", "subject"), ("降る。", "predicate")]),
        ("毎日機械学習を勉強する", [("毎日", "modifier"), ("機械学習を", "object"), ("勉強する", "predicate")]),
        ("この本はとても面白い", [("この", "modifier"), ("本は", "topic"), ("とても", "modifier"), ("面白い", "predicate")]),
        ("はい、ありがとう。", [("はい、", "interjection"), ("ありがとう。", "interjection")]),
    ],
)
def test_bunsetsu_and_their_types(sentence, expected):
    assert types(sentence) == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("天気は晴れです。", "statement"),
        ("行きますか。", "question"),
        ("元気？", "question"),
        ("待ってください。", "request"),
        ("よろしくお願いします", "request"),
        ("早く行け！", "request"),
    ],
)
def test_types_of_sentences(sentence, expected):
    assert maskkit_japanese.sentence_type(maskkit_japanese.morphemes(sentence)) == expected


def weight_of(tokenizer, text: str, **options) -> set[float]:
    """The weights of the tokens inside a text of the answer."""
    example = maskkit.Masker(tokenizer, strategy={"name": "japanese", **options})(ROW)
    start = example.tokens.text.index(ANSWER) + ANSWER.index(text)
    inside = (example.tokens.char_start >= start) & (example.tokens.char_end <= start + len(text))
    assert inside.any(), f"no token lies inside {text!r}"
    return set(np.round(example.loss_weights[inside].astype(float), 6).tolist())


def test_weights_by_bunsetsu_and_factors_by_sentence(tiny_tokenizer):
    assert weight_of(tiny_tokenizer, "天気は", topic=2.0) == {2.0}
    assert weight_of(tiny_tokenizer, "えー、") == {0.0}
    assert weight_of(tiny_tokenizer, "傘を", object=2.0, question=0.25) == {0.5}
    assert weight_of(tiny_tokenizer, "待ってください。", predicate=3.0, request=0.5) == {1.5}
    assert weight_of(tiny_tokenizer, "東京の", topic=9.0, question=9.0) == {1.0}


def test_lines_without_japanese_are_left_alone(tiny_tokenizer):
    row = {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "What is it?\nはい。"}]}
    example = maskkit.Masker(tiny_tokenizer, strategy={"name": "japanese", "question": 5.0, "interjection": 2.0})(row)
    answer = example.tokens.where(kind="answer")
    by_text = {example.tokens.piece(t): float(example.loss_weights[t]) for t in np.flatnonzero(answer)}
    assert by_text["は"] == 2.0
    assert {weight for text, weight in by_text.items() if text.strip().isascii()} == {1.0}


def test_every_character_belongs_to_one_bunsetsu_and_long_text_is_read():
    sentence = "私は本を読む" * 3_000
    words = maskkit_japanese.morphemes(sentence)
    assert "".join(word.surface for word in words) == sentence
    assert all(a.end == b.start for a, b in itertools.pairwise(words))
    assert maskkit_japanese.character_weights("あ\ud800い", maskkit_japanese.Japanese.Options()).shape == (3,)
