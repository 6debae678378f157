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
        return copied(self._backend, {content: chr(first + index) for index, content in enumerate(self._contents.values())})


def copied(backend: Any, names: Mapping[str, str]) -> tuple[Any, dict[int, int]]:
    """A copy of a backend tokenizer without post-processing, in which added tokens are written as ``names`` says.

    Returns it with the original ids of those added tokens that have another in the copy. The vocabulary is shared; where some of the names
    are pieces of the model too, it is read anew, which takes a second or two once.
    """
    from tokenizers import AddedToken, Tokenizer

    known = any(backend.model.token_to_id(content) is not None for content in names)
    made = Tokenizer(_renamed(backend, names) if known else backend.model)
    made.normalizer, made.pre_tokenizer = backend.normalizer, backend.pre_tokenizer
    real: dict[int, int] = {}
    for token_id, token in sorted(backend.get_added_tokens_decoder().items()):
        content = names.get(token.content, token.content)
        manners = {name: getattr(token, name) for name in ("single_word", "lstrip", "rstrip", "normalized")}
        manners["normalized"] = manners["normalized"] and _survives(content, backend.normalizer)
        made.add_tokens([AddedToken(content, special=token.special, **manners)])
        own = made.token_to_id(content)
        if own is not None:
            real[own] = token_id
    return made, {own: token_id for own, token_id in real.items() if own != token_id}


def _survives(content: str, normalizer: Any) -> bool:
    """Is the text still found after normalisation?"""
    return normalizer is None or content in normalizer.normalize_str(content)


def _renamed(backend: Any, names: Mapping[str, str]) -> Any:
    """The model with pieces of its vocabulary under another name, so that no text makes them."""
    from tokenizers import Tokenizer

    model = json.loads(backend.to_str())["model"]
    vocab = model["vocab"]
    if isinstance(vocab, dict):
        model["vocab"] = {names.get(piece, piece): number for piece, number in vocab.items()}
    else:
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in vocab]
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    if "merges" in model:
        model["merges"] = [pair for pair in map(_pair, model["merges"]) if names.keys().isdisjoint((*pair, "".join(pair)))]
    return Tokenizer.from_str(json.dumps({"version": "1.0", "added_tokens": [], "model": model})).model


def _pair(merge: Any) -> tuple[str, str]:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right
