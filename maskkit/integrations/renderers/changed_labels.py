"""Why a renderer says something else of the same token: the prompts that transformers makes are the referee."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from maskkit.integrations.renderers.reasons import UNEXPLAINED, Aspect, Difference, Right
from maskkit.integrations.renderers.rendering import NO_MESSAGE, Rendering

Labels = npt.NDArray[Any]


class _Run(NamedTuple):
    """Neighbouring tokens, ``start`` up to ``end``, of which the two say the same different things."""

    start: int
    end: int
    ours: Any
    theirs: Any


class _Reason(NamedTuple):
    name: str
    right: Right


_UNEXPLAINED = _Reason(UNEXPLAINED, "neither")
_SPANS = _Reason("token-spans", "both")


def changed_labels(row: Rendering) -> Iterator[Difference]:
    """The runs of tokens, the same for both, of which they say different things; each with its reason."""
    for aspect, ours, theirs, explain in _aspects(row):
        for run in _runs(row, ours, theirs):
            reason = explain(row, run)
            if reason is _UNEXPLAINED and _touches_change(row, run):
                reason = _Reason("beside-change", "maskkit" if row.ours_is_reference else "neither")
            text = row.text(run.start, run.end)
            yield Difference(aspect, run.start, run.end, text, run.ours, run.theirs, reason.name, reason.right)


def _aspects(row: Rendering) -> Iterator[tuple[Aspect, Labels, Labels, Callable[[Rendering, _Run], _Reason]]]:
    """What is compared: a label per token of both, [S], for the tokens that are the same."""
    ours, theirs = row.alignment.ours, row.alignment.theirs
    owner = row.opinion.owner[theirs]
    yield "owner", row.tokens.message[ours], owner, _owner
    if row.opinion.generated is not None:
        yield "generated", row.tokens.generated[ours], row.opinion.generated[theirs], _generated
    if row.opinion.content is not None:
        said = np.array([root not in ("", *NO_MESSAGE) for root in row.roots], np.bool_)[ours]
        # In replies, content is what the model samples, which is compared already.
        counts = np.array([not row.is_reply(message) for message in owner.tolist()], np.bool_)
        yield "content", np.where(counts, said, False), np.where(counts, row.opinion.content[theirs], False), _content


def _runs(row: Rendering, ours: Labels, theirs: Labels) -> Iterator[_Run]:
    places = row.alignment.ours
    run: _Run | None = None
    for at in np.flatnonzero(ours != theirs).tolist():
        place, said = int(places[at]), (ours[at].item(), theirs[at].item())
        if run and run.end == place and (run.ours, run.theirs) == said:
            run = run._replace(end=place + 1)
            continue
        if run:
            yield run
        run = _Run(place, place + 1, *said)
    if run:
        yield run


def _touches_change(row: Rendering, run: _Run) -> bool:
    """Does the text of the template, in which the run is, stand right beside tokens that the renderer has not, or has otherwise?"""
    beside = any(change.start == run.end or change.end == run.start for change in row.alignment.changes)
    return beside and not any(row.roots[run.start : run.end])


# -- which message -----------------------------------------------------------------------------------------------


def _owner(row: Rendering, run: _Run) -> _Reason:
    roots = {root for root in row.roots[run.start : run.end] if root}
    if roots and roots <= set(NO_MESSAGE) and run.ours == -1:
        return _Reason("tools-owner", "both")
    if all(len({segment.message for segment in row.touched(token)}) > 1 for token in range(run.start, run.end)):
        return _SPANS
    if not roots and not row.tokens.generated[run.start : run.end].any() and run.theirs in _theirs_beside(row, run):
        return _Reason("scaffold-owner", "both")
    return _UNEXPLAINED


def _theirs_beside(row: Rendering, run: _Run) -> set[int]:
    """The messages to which the renderer counts the tokens on both sides of a run, those that say nothing, and "no message"."""
    messages = range(len(row.tokens.record.messages))
    silent = set(messages) - set(row.tokens.message[[bool(root) for root in row.roots]].tolist())
    where = {int(place): int(other) for place, other in zip(row.alignment.ours, row.alignment.theirs, strict=True)}
    beside = (where.get(place) for place in (run.start - 1, run.end))
    return {-1} | silent | {int(row.opinion.owner[other]) for other in beside if other is not None}


# -- whose -------------------------------------------------------------------------------------------------------


def _generated(row: Rendering, run: _Run) -> _Reason:
    tokens = row.tokens
    if tokens.straddle[run.start : run.end].all():
        return _SPANS
    if (tokens.kind[run.start : run.end] == "unknown").all():
        return _Reason("not-known", "neither")
    message = int(tokens.message[run.start])
    if run.ours and (tokens.kind[run.start : run.end] == "stop").any():
        return _UNEXPLAINED
    if not row.is_reply(message) or any(root in ("content", "tool_calls") for root in row.roots[run.start : run.end] if run.ours):
        return _UNEXPLAINED
    if not run.ours and _behind_stop(row, run, message):
        return _Reason("after-stop", "maskkit")
    prompt_end = row.prompt_end(message)
    if prompt_end is None:
        return _Reason("not-as-served", "both") if _begins_reply(row, run, message) else _UNEXPLAINED
    if not run.ours:
        inside = int(tokens.char_end[run.end - 1]) <= prompt_end
        return _Reason("prefilled", "maskkit") if inside and _is_prefill(row, run) else _UNEXPLAINED
    behind = int(tokens.char_start[run.start]) >= prompt_end and not _behind_stop(row, run, message)
    return _Reason("model-writes", "maskkit") if behind else _UNEXPLAINED


def _behind_stop(row: Rendering, run: _Run, message: int) -> bool:
    """Has the message's reply ended before the run, with a stop token?"""
    tokens = row.tokens
    before = (tokens.message[: run.start] == message) & tokens.generated[: run.start]
    return bool((before & np.isin(tokens.ids[: run.start], list(row.stop_ids))).any())


def _is_prefill(row: Rendering, run: _Run) -> bool:
    """Is the run what a prompt fills in of a reply, a tag of thinking and blanks, rather than the header?"""
    tags = row.masker.renderer.markup.reasoning_tags
    text = row.text(run.start, run.end)
    for tag in sorted({tag for pair in tags for tag in pair}, key=len, reverse=True):
        if tag in text and not text.replace(tag, "").strip():
            return True
        text = text.replace(tag, "") if text.replace(tag, "").strip() else text
    return False


def _begins_reply(row: Rendering, run: _Run, message: int) -> bool:
    """Does the run touch the place at which the model begins, as the one or the other sees it?"""
    mine = np.flatnonzero((row.tokens.message == message) & row.tokens.generated)
    return len(mine) > 0 and int(mine[0]) in (run.start, run.end)


# -- the conversation's, or the template's -----------------------------------------------------------------------


def _content(row: Rendering, run: _Run) -> _Reason:
    if all(len({bool(segment.field) for segment in row.touched(token)}) > 1 for token in range(run.start, run.end)):
        return _SPANS
    written_by_template = not any(row.roots[run.start : run.end]) and run.theirs
    return _Reason("beside-content", "both") if written_by_template and _stands_beside_content(row, run) else _UNEXPLAINED


def _stands_beside_content(row: Rendering, run: _Run) -> bool:
    """Is the token in front of the run, or behind it, text of the message to which the renderer counts the run, if that says anything?"""
    where = {int(place): int(other) for place, other in zip(row.alignment.ours, row.alignment.theirs, strict=True)}
    owner = int(row.opinion.owner[where[run.start]])
    beside = [place for place in (run.start - 1, run.end) if 0 <= place < len(row.tokens)]
    said = [place for place, root in enumerate(row.roots) if root and int(row.tokens.message[place]) == owner]
    return not said or any(place in said for place in beside)
