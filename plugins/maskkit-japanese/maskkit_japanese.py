"""Weights for Japanese answers by bunsetsu (文節: a word with the particles and auxiliaries behind it) and by sentence.

Sudachi splits the text into morphemes; its parts of speech say where a bunsetsu begins and what it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field
from sudachipy import Dictionary, SplitMode

import maskkit

SENTENCE = re.compile(r"[^。！？!?\n]*(?:[。！？!?]+[」』）)]*|\n|\Z)")
JAPANESE = re.compile(r"[\u3041-\u30ff\u3400-\u9fff\uff66-\uff9f]")
SURROGATE = re.compile(r"[\ud800-\udfff]")

LONGEST = 8_000
"""Characters that are given to Sudachi at once, which takes 49,149 bytes at most."""

INDEPENDENT = ("名詞", "代名詞", "動詞", "形容詞", "形状詞", "副詞", "連体詞", "接続詞", "感動詞", "接頭辞")
"""Parts of speech that can open a bunsetsu; particles, auxiliaries, suffixes and punctuation go on with it."""

PARTICLES = {"は": "topic", "も": "topic", "が": "subject", "を": "object", "の": "modifier"}
CASES = ("に", "へ", "で", "と", "から", "まで", "より")


class Morpheme(NamedTuple):
    """A word of a sentence: its range of characters there, its text and its part of speech (six levels, as Sudachi has them)."""

    start: int
    end: int
    surface: str
    speech: Sequence[str]


class Japanese(maskkit.Strategy):
    """Train answers, with weights by type of bunsetsu and factors by type of sentence, for Japanese text.

    A token that touches two bunsetsu has the weight of the first. Lines without a Japanese character weigh ``other``.
    """

    name = "japanese"

    class Options(maskkit.StrategyOptions):
        topic: float = Field(1.0, ge=0)
        """Weight of bunsetsu with は or も."""
        subject: float = Field(1.0, ge=0)
        """Weight of those with が."""
        object: float = Field(1.0, ge=0)
        """Weight of those with を."""
        oblique: float = Field(1.0, ge=0)
        """Weight of those with に, へ, で, と, から, まで or より."""
        modifier: float = Field(1.0, ge=0)
        """Weight of those with の, of adverbs and of words such as この."""
        predicate: float = Field(1.0, ge=0)
        """Weight of verbs, adjectives, and nouns with だ or です."""
        connective: float = Field(1.0, ge=0)
        """Weight of conjunctions such as しかし."""
        interjection: float = Field(1.0, ge=0)
        """Weight of はい, ありがとう and the like."""
        filler: float = Field(0.0, ge=0)
        """Weight of えー, あの and the like."""
        other: float = Field(1.0, ge=0)
        """Weight of everything else in an answer."""
        statement: float = Field(1.0, ge=0)
        """Factor of sentences that state."""
        question: float = Field(1.0, ge=0)
        """Factor of sentences that ask."""
        request: float = Field(1.0, ge=0)
        """Factor of sentences that ask for something to be done: ください, お願いします, imperatives."""
        stop: float = Field(1.0, ge=0)
        """Weight of the stop token."""

    def weights(self, tokens: maskkit.Tokens):
        answer = tokens.where(kind="answer")
        weights = self.options.other * answer + self.options.stop * tokens.where(kind="stop")
        for start, end in tokens.runs(answer):
            of_character = character_weights(tokens.text[start:end], self.options)
            inside = np.flatnonzero(tokens.touching([(start, end)], within=answer))
            weights[inside] = of_character[np.clip(tokens.char_start[inside] - start, 0, end - start - 1)]
        return weights


def character_weights(text: str, options: Any) -> np.ndarray:
    """The weight of each character of an answer: float64 [len(text)]."""
    weights = np.full(len(text), options.other)
    for match in SENTENCE.finditer(text):
        if not JAPANESE.search(match[0]):
            continue
        words = morphemes(match[0])
        factor = getattr(options, sentence_type(words))
        weights[match.start() : match.end()] *= factor
        for part in bunsetsu(words):
            weights[match.start() + part[0].start : match.start() + part[-1].end] = factor * getattr(options, bunsetsu_type(part))
    return weights


def morphemes(sentence: str) -> list[Morpheme]:
    """The words of a sentence, in order."""
    words = []
    for offset in range(0, len(sentence), LONGEST):
        piece = SURROGATE.sub("?", sentence[offset : offset + LONGEST])
        words += [Morpheme(offset + m.begin(), offset + m.end(), m.surface(), m.part_of_speech()) for m in _tokenizer().tokenize(piece)]
    return words


def bunsetsu(words: Sequence[Morpheme]) -> Iterator[list[Morpheme]]:
    """The words grouped: an independent word with what depends on it."""
    part: list[Morpheme] = []
    for word in words:
        if part and _opens(word, part[-1]):
            yield part
            part = []
        part.append(word)
    if part:
        yield part


def _opens(word: Morpheme, before: Morpheme) -> bool:
    if word.speech[0] not in INDEPENDENT or before.speech[0] == "接頭辞":
        return False
    if word.speech[0] == "名詞" and before.speech[0] in ("名詞", "接尾辞"):
        return before.speech[2] == "副詞可能"  # else a compound; words of time stand alone: 毎日/学習を
    if word.speech[1] == "非自立可能":  # a word that helps the one before: 勉強/する, 見て/いる
        helps = before.speech[0] in ("名詞", "動詞", "助動詞") or before.speech[1] == "接続助詞"
        return not helps
    return True


def bunsetsu_type(part: Sequence[Morpheme]) -> str:
    """The type of a bunsetsu: the name of the option that weighs it."""
    words = [word for word in part if word.speech[0] not in ("補助記号", "空白")]
    if not words:
        return "other"
    first, last = words[0], words[-1]
    if first.speech[0] == "感動詞":
        return "filler" if first.speech[1] == "フィラー" else "interjection"
    if first.speech[0] == "接続詞":
        return "connective"
    if last.speech[0] == "助詞" and last.speech[1] in ("係助詞", "格助詞", "副助詞"):
        return PARTICLES.get(last.surface, "oblique" if last.surface in CASES else "other")
    if any(word.speech[0] in ("動詞", "形容詞", "助動詞") for word in words):
        return "predicate"
    return "modifier" if first.speech[0] in ("副詞", "連体詞") or first.speech[2] == "副詞可能" else "other"


def sentence_type(words: Sequence[Morpheme]) -> str:
    """The type of a sentence: the name of the option that is its factor."""
    said = [word for word in words if word.speech[0] not in ("補助記号", "空白")]
    if any(mark in word.surface for word in words[-3:] for mark in "？?") or (
        said and said[-1].surface == "か" and said[-1].speech[0] == "助詞"
    ):
        return "question"
    ending = "".join(word.surface for word in said[-5:])
    imperative = bool(said) and said[-1].speech[5].startswith("命令形")
    return "request" if imperative or re.search(r"(ください|下さい|お願い(いた)?します)$", ending) else "statement"


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    dictionary = Dictionary(dict="small")
    make = getattr(dictionary, "tokenizer", dictionary.create)
    return make(mode=SplitMode.C)


@maskkit.hookimpl
def maskkit_strategies():
    return [Japanese]
