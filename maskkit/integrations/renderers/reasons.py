"""Why maskkit and a renderer may say different things of a token. What none of these explains is an error of one of the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Aspect = Literal["ids", "owner", "generated", "content"]
Right = Literal["maskkit", "renderers", "neither", "both"]

ASPECTS: Mapping[str, str] = {
    "ids": "which tokens there are",
    "owner": "which message a token belongs to",
    "generated": "whether the model itself would emit it",
    "content": "whether it comes from the conversation, outside of replies",
}
"""What is compared of each token."""

UNEXPLAINED = "unexplained"

REASONS: Mapping[str, str] = {
    # ids
    "encoded-apart": "the text is the same; the renderer encodes pieces of it apart, transformers the whole",
    "other-punctuation": "the words are the same, with other blanks, quotes or escapes than transformers writes",
    "other-serialisation": "the same tools, calls or results, written otherwise than transformers writes them",
    "dropped-by-template": "the renderer prints text of the conversation that the template, as transformers renders it, leaves out",
    "tags-in-content": "a reply's content holds tags of thinking, which the renderer and the template treat differently",
    "left-out": "the renderer leaves out a whole field of the conversation that transformers prints",
    "template-text": "text of the template alone: the renderer writes that of another template than transformers has",
    "typed-control": "the conversation itself holds the text of a control token, which maskkit encodes as ordinary text",
    # owner
    "tools-owner": "tools, documents and template arguments are no message's; the renderer counts them to the message they are printed in",
    "scaffold-owner": "text of the template between two messages, counted to one or the other: a convention",
    # generated
    "prefilled": "the prompt that transformers makes of the messages before already holds it: the model goes on behind it",
    "model-writes": "transformers' prompt ends before it and no stop token stands between, so the model has to write it",
    "after-stop": "it stands behind the token that ends the turn, where the model has stopped",
    "not-as-served": "the reply does not stand behind its prompt as transformers makes that, so no prompt tells where the model begins",
    "not-known": "maskkit could not tell whose the text is, and does not guess",
    "beside-change": "the renderer has other tokens right beside it, so that it is part of something else there",
    # content
    "beside-content": "quotes, brackets or a heading that the template writes around a text of the conversation, counted to it",
    # several
    "token-spans": "one token covers text of both",
    UNEXPLAINED: "nothing that was looked at explains it",
}
"""What each reason means."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A run of tokens of a conversation of which maskkit and the renderer say different things."""

    aspect: Aspect
    start: int
    """First token, as maskkit counts them."""
    end: int
    """One past the last; equal to ``start`` where only the renderer has tokens."""
    text: str
    """What maskkit's tokens cover."""
    ours: Any
    """What maskkit says: the text of its tokens (``ids``), a message (``owner``, -1 for none), yes or no."""
    theirs: Any
    """What the renderer says."""
    reason: str
    """A name in `REASONS`."""
    right: Right
    """Whom transformers agrees with; ``both`` where it is a matter of convention."""

    @property
    def size(self) -> int:
        """How many tokens of maskkit's differ, at least 1."""
        return max(self.end - self.start, 1)
