"""A reply as it was served: the prompt that a server rendered at that moment, and what the model then wrote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from maskkit.chat.owners import NOBODY
from maskkit.chat.segments import RenderedText, Segment
from maskkit.chat.spans import Layout, Span
from maskkit.chat.traced import DERIVED, TEMPLATE
from maskkit.findings import Finding
from maskkit.kinds import SegmentKind


@dataclass(frozen=True, slots=True)
class ServedTurn:
    """One assistant message with what came before it. Nothing of the prompt is generated."""

    message: int
    prompt: RenderedText
    reply: RenderedText
    """From the end of the prompt to the stop token, that included; positions begin at 0."""
    findings: tuple[Finding, ...]


def served_turn(message: int, prompt: RenderedText, rendered: RenderedText) -> ServedTurn | Finding:
    """The turn of assistant message ``message``; a finding where nothing of it is known to be the model's.

    prompt: the rendering of the messages before it, with generation prompt. rendered: the rendering of all messages up to and with it.
    """
    own = [segment for segment in rendered.segments if segment.generated and segment.message == message]
    if not own:
        return Finding("no-reply", f"nothing of assistant message {message} is known to be what the model emits")
    findings = []
    if rendered.text.startswith(prompt.text):
        start = len(prompt.text)
        supplied = cut(rendered, 0, start)
        prompt = replace(supplied, segments=tuple(replace(segment, generated=False) for segment in supplied.segments))
    else:
        start = own[0].start
        prompt = replace(prompt, segments=tuple(_with_opening(prompt, message)))
        findings.append(Finding("reply-differs", f"assistant message {message} is not rendered as its prompt begins"))
    return ServedTurn(message, prompt, cut(rendered, start, own[-1].end), tuple(findings))


def stopped(turn: ServedTurn, stop: str) -> ServedTurn:
    """A turn that was rendered without a stop token, with it: the marker of the next role. Empty where none is known, which is said."""
    reply, end = turn.reply, len(turn.reply.text)
    if not stop:
        return replace(turn, findings=(*turn.findings, Finding("no-stop", f"no stop token follows assistant message {turn.message}")))
    segment = Segment(end, end + len(stop), SegmentKind.STOP, True, turn.message)
    span = Span(end, end + len(stop), TEMPLATE, -1, DERIVED, turn.message)
    return replace(turn, reply=RenderedText(reply.text + stop, (*reply.segments, segment), (), (*reply.spans, span)))


def cut(rendered: RenderedText, start: int, end: int) -> RenderedText:
    """``text[start:end]`` with its segments and spans, counted from its own beginning; without findings."""
    spans = [span.clipped(start, end) for span in Layout(rendered.spans).within(start, end)]
    return RenderedText(
        rendered.text[start:end],
        tuple(_clipped(segment, start, end) for segment in rendered.segments if segment.start < end and segment.end > start),
        (),
        tuple(span._replace(start=span.start - start, end=span.end - start) for span in spans),
    )


def _clipped(segment: Segment, start: int, end: int) -> Segment:
    begin = max(segment.start, start)
    offset = segment.offset + begin - segment.start if segment.offset >= 0 else segment.offset
    return replace(segment, start=begin - start, end=min(segment.end, end) - start, offset=offset)


def _with_opening(prompt: RenderedText, message: int) -> Iterator[Segment]:
    """The prompt's segments; what the generation prompt put behind the last message is scaffolding of the reply's turn."""
    opening = max((span.end for span in prompt.spans if span.owner != NOBODY), default=0)
    for segment in prompt.segments:
        if segment.start < opening:
            yield replace(segment, end=min(segment.end, opening), generated=False)
    if opening < len(prompt.text):
        yield Segment(opening, len(prompt.text), SegmentKind.TEMPLATE, False, message)
