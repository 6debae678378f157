"""Tokenizers and chat templates by their content, so that stored ids are read with the tokenizer that they were made with."""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING

from maskkit.errors import TokenizerError
from maskkit.records.prepared import MadeWith

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger("maskkit.masker")

_SHOWN = len("sha256:") + 12


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """``sha256:`` and 64 hexadecimal digits of all that a fast tokenizer does to a text; how it last padded or cut is no part of that."""
    backend = tokenizer.backend_tokenizer
    text = backend.to_str()
    if backend.padding or backend.truncation:
        from tokenizers import Tokenizer

        bare = Tokenizer.from_str(text)  # a copy: the user's tokenizer stays as it is
        bare.no_padding()
        bare.no_truncation()
        text = bare.to_str()
    return _digest(text)


def template_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """``sha256:`` and 64 hexadecimal digits of its chat template."""
    return _digest(str(getattr(tokenizer, "chat_template", None)))


class Recognition:
    """Tells whether stored tokens are those of a tokenizer; it looks once for each prepared folder."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._known: set[MadeWith] = set()

    def __getstate__(self) -> dict[str, object]:
        """What was worked out stays behind."""
        return {**self.__dict__, "_known": set()}

    def __call__(self, made: MadeWith | None) -> None:
        """Raises TokenizerError for tokens of another tokenizer; another chat template is a warning, since their ids are what they were.

        made: what they were made with; None where nobody says it.
        """
        if made is None or made in self._known:
            return
        name = str(self._tokenizer.name_or_path) or type(self._tokenizer).__name__
        raw = _digest(self._tokenizer.backend_tokenizer.to_str())
        if made.tokenizer != raw and made.tokenizer != (own := tokenizer_fingerprint(self._tokenizer)):
            raise TokenizerError(
                f"{made.folder} was prepared with the tokenizer of {made.model!r} ({made.tokenizer[:_SHOWN]}), and this one, {name!r}, is "
                f"another ({own[:_SHOWN]}), to which its ids mean other tokens: use the tokenizer it was prepared with, or run  maskkit "
                "prepare  anew with this one into another folder"
            )
        template = template_fingerprint(self._tokenizer)
        if made.template != template:
            logger.warning(
                "%s was prepared with another chat template (%s) than that of %r (%s): its rows are trained as they are stored; "
                "prepare them anew if they are to be rendered by this one",
                *(made.folder, made.template[:_SHOWN], name, template[:_SHOWN]),
            )
        self._known.add(made)


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"
