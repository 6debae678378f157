"""A tokenizer that takes no typed text for a control token.

It is a copy of the tokenizer in which every control token is written as one private-use character, its *stand-in*, in the added tokens and
in the model's vocabulary. A text whose genuine control tokens are written as stand-ins is encoded by it in one piece, so that blanks,
prefixes and normalisation come out as they do in the original; what only looks like a control token is cut like any other text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

_PRIVATE = range(0xF0000, 0x10FFFE)


class StandIns:
    """Stand-ins for the control tokens of one backend tokenizer (``tokenizers.Tokenizer``), made when first needed.

    contents: text of each control token, by id.
    """

    def __init__(self, backend: Any, contents: Mapping[int, str]) -> None:
        self._backend = backend
        self._contents = dict(contents)
        self._made: dict[int, tuple[Any, dict[int, int]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_made": {}}

    def encode(
        self, text: str, genuine: Iterable[tuple[int, int, int]]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Ids and character offsets of a text in which only the control tokens ``genuine``, ``(id, start, end)`` in order, are such."""
        first = self._free(text)
        tokenizer, real = self._of(first)
        number = {token_id: first + index for index, token_id in enumerate(self._contents)}
        parts: list[str] = []
        places: list[npt.NDArray[np.int64]] = []
        at = 0
        for token_id, start, end in genuine:
            parts += [text[at:start], chr(number[token_id])]
            places.append(np.arange(at, start + 1))
            at = end
        parts.append(text[at:])
        places.append(np.arange(at, len(text) + 1))
        encoding = tokenizer.encode("".join(parts), add_special_tokens=False)
        ids = np.array([real.get(token_id, token_id) for token_id in encoding.ids], np.int64)
        offsets = np.array(encoding.offsets, np.int64).reshape(-1, 2)
        # for each character of what was encoded, and for its end, where it is in the text: a stand-in begins and ends where its token does
        place = np.concatenate(places)
        return ids, place[offsets[:, 0]], place[offsets[:, 1]]

    def _free(self, text: str) -> int:
        """The first of as many private-use characters as are needed, none of which is in the text."""
        taken = {ord(character) for character in set(text) if ord(character) >= _PRIVATE.start}
        for first in range(_PRIVATE.start, _PRIVATE.stop - len(self._contents), len(self._contents) + 1):
            if taken.isdisjoint(range(first, first + len(self._contents))):
                return first
        raise ValueError("the text holds private-use characters of all ranges, so no stand-in for a control token is free")

    def _of(self, first: int) -> tuple[Any, dict[int, int]]:
        if first not in self._made:
            self._made[first] = self._make(first)
        return self._made[first]

    def _make(self, first: int) -> tuple[Any, dict[int, int]]:
        """The tokenizer, and the original id of each of its added tokens that has another."""
        from tokenizers import Tokenizer

        spec = json.loads(self._backend.to_str())
        names = {content: chr(first + index) for index, content in enumerate(self._contents.values())}
        spec.update(truncation=None, padding=None, post_processor=None)
        for token in spec["added_tokens"]:
            token["content"] = names.get(token["content"], token["content"])
            token["normalized"] = token["normalized"] and self._survives(token["content"])
        _rename(spec["model"], names)
        made = Tokenizer.from_str(json.dumps(spec))
        real = {token["content"]: token["id"] for token in spec["added_tokens"]}
        own = {content: made.token_to_id(content) for content in real}
        return made, {number: real[content] for content, number in own.items() if number is not None and number != real[content]}

    def _survives(self, content: str) -> bool:
        """Is the text still found after normalisation?"""
        normalizer = self._backend.normalizer
        return normalizer is None or content in normalizer.normalize_str(content)


def _rename(model: dict[str, Any], names: Mapping[str, str]) -> None:
    """Give pieces of a model's vocabulary another name, so that no text makes them."""
    vocab = model["vocab"]
    if isinstance(vocab, dict):
        model["vocab"] = {names.get(piece, piece): number for piece, number in vocab.items()}
    else:
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in vocab]
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    if "merges" in model:
        model["merges"] = [pair for pair in map(_pair, model["merges"]) if names.keys().isdisjoint((*pair, "".join(pair)))]


def _pair(merge: Any) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right
