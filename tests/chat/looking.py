"""Reading aids for rendered texts in tests."""

from __future__ import annotations

from itertools import groupby

from maskkit.chat.segments import RenderedText, Segment


def marked(rendered: RenderedText) -> str:
    """The text, with what the model emits in brackets that name its kind: ``⟦answer:4⟧``."""
    text = ""
    for (generated, kind), group in groupby(rendered.segments, lambda segment: (segment.generated, segment.kind.value)):
        piece = "".join(rendered.text[segment.start : segment.end] for segment in group)
        text += f"⟦{kind}:{piece}⟧" if generated else piece
    return text


def codes(rendered: RenderedText) -> list[str]:
    """Codes of the findings, in order."""
    return [finding.code for finding in rendered.findings]


def check_cover(rendered: RenderedText) -> None:
    """Segments cover the text without gap or overlap, in order; neighbours of one origin are one segment."""
    at = 0
    for segment in rendered.segments:
        assert segment.start == at < segment.end
        at = segment.end
    assert at == len(rendered.text)
    for left, right in zip(rendered.segments, rendered.segments[1:], strict=False):
        if left.offset < 0 or right.offset < 0:
            assert _origin(left) != _origin(right)


def _origin(segment: Segment) -> tuple[object, ...]:
    return segment.kind, segment.generated, segment.message, segment.field, segment.offset


def segment_at(rendered: RenderedText, position: int) -> Segment:
    """The segment of one character."""
    return next(segment for segment in rendered.segments if segment.start <= position < segment.end)
