"""Rendering with provenance: any chat template, no markers.

    record -> text of its chat template -> segments: whose characters are these, and would the model emit them?

Read in this order: `render`, which tells the story; then what a rendering is made of: `traced` and `owners` (strings that know
their origin, and in whose turn they were written), `containers`, `formatting` and `filters` (data, and what templates do to it),
`compiler`, `environment` and `limits` (Jinja's sandbox, compiled to trace, and how much a template may do), `reference`
(transformers' side), `searches`, `watch` and `replay` (prompts, at the cost of what is new in each), `continuing` and
`conversation` (all of it together); then what is concluded from it: `spans`, `kinds`, `markup`, `parts`, `generated`, `labelling`,
`dropped`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maskkit.chat.segments import RenderedText, Segment

if TYPE_CHECKING:
    from maskkit.chat.render import ChatRenderer

__all__ = ["ChatRenderer", "RenderedText", "Segment"]


def __getattr__(name: str) -> Any:
    if name == "ChatRenderer":
        from maskkit.chat.render import ChatRenderer

        return ChatRenderer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
