"""Why a renderer has other tokens: transformers' own are the referee."""

from __future__ import annotations

import re
from collections.abc import Iterator

from maskkit.integrations.renderers.alignment import Change
from maskkit.integrations.renderers.reasons import UNEXPLAINED, Difference, Right
from maskkit.integrations.renderers.rendering import NO_MESSAGE, Rendering

_WORD = re.compile(r"\w+")
_ESCAPE = re.compile(r"\\[nrtbf]")


def changed_tokens(row: Rendering) -> Iterator[Difference]:
    """The places at which the two have other tokens, each with its reason."""
    same_text = bool(row.alignment.changes) and row.decoded(0, len(row.opinion.ids)) == row.tokens.text
    for change in row.alignment.changes:
        ours, theirs = row.text(change.start, change.end), row.decoded(change.other_start, change.other_end)
        reason = _reason(row, change, ours, theirs, same_text)
        right: Right = "maskkit" if row.ours_is_reference else "renderers" if row.theirs_is_reference else "neither"
        yield Difference("ids", change.start, change.end, ours, ours, theirs, reason, "both" if reason == "typed-control" else right)


def _reason(row: Rendering, change: Change, ours: str, theirs: str, same_text: bool) -> str:
    if not row.ours_is_reference:
        escaped = any(finding.code == "control-tokens" for finding in row.findings)
        return "typed-control" if escaped and (same_text or ours == theirs) else UNEXPLAINED
    if same_text or ours == theirs:
        return "encoded-apart"
    if _words(ours) == _words(theirs):
        return "other-punctuation"
    if "stop" in row.tokens.kind[change.start : change.end]:
        return UNEXPLAINED  # what teaches to stop is no matter of writing
    more = theirs.removesuffix(ours) if theirs.endswith(ours) else theirs.removeprefix(ours) if theirs.startswith(ours) else ""
    fields = {root for root in row.roots[change.start : change.end] if root}
    if fields and not more:
        if _is_structured(row, change):
            return "other-serialisation"
        return "left-out" if _leaves_out_whole_fields(row, change) else UNEXPLAINED
    if _is_dropped(row, more or theirs):
        return "dropped-by-template"
    if fields or not _is_inside_a_field(row, change):
        return UNEXPLAINED if fields else "template-text"
    around = change._replace(start=change.start - 1, end=change.end + 1)
    return "other-serialisation" if _is_structured(row, around) else UNEXPLAINED


def _words(text: str) -> list[str]:
    return _WORD.findall(_ESCAPE.sub(" ", text))


def _is_dropped(row: Rendering, text: str) -> bool:
    """Does the renderer's text hold, or come from, a text of the conversation that transformers does not print as it is?"""
    bare = text.strip()
    return bool(_words(bare)) and any((said in bare or bare in said) and said not in row.tokens.text for said in row.said)


def _is_inside_a_field(row: Rendering, change: Change) -> bool:
    """Does one field of the conversation go on over the place?"""
    tokens, before, behind = row.tokens, change.start - 1, change.end
    if before < 0 or behind >= len(tokens) or not row.roots[before]:
        return False
    return bool(tokens.message[before] == tokens.message[behind] and tokens.field[before] == tokens.field[behind])


def _is_structured(row: Rendering, change: Change) -> bool:
    """Is what maskkit has there data with a structure, that is written somehow: tools, calls, or contents that are no text?"""
    tokens = row.tokens
    for index in range(change.start, change.end):
        root, message = row.roots[index], int(tokens.message[index])
        if root and root not in (*NO_MESSAGE, "tool_calls", "function_call") and isinstance(tokens.record.messages[message].get(root), str):
            return False
    return True


def _leaves_out_whole_fields(row: Rendering, change: Change) -> bool:
    """Is everything that maskkit has of the fields in this place missing, here or in another change?"""
    tokens = row.tokens
    missing = {index for other in row.alignment.changes for index in range(other.start, other.end)}
    fields = {(int(tokens.message[i]), str(tokens.field[i])) for i in range(change.start, change.end) if row.roots[i]}
    of_fields = (i for i in range(len(tokens)) if (int(tokens.message[i]), str(tokens.field[i])) in fields)
    return all(index in missing for index in of_fields)
