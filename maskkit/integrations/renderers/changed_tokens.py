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
    right: Right = "maskkit" if row.ours_is_reference else "renderers" if row.theirs_is_reference else "neither"
    for change in row.alignment.changes:
        ours, theirs = row.text_of(change), row.decoded_of(change)
        reason = _encoding(row, change) if ours == theirs else _reason(row, change, ours, theirs)
        yield Difference("ids", change.start, change.end, ours, ours, theirs, reason, "both" if reason == "typed-control" else right)


def _encoding(row: Rendering, change: Change) -> str:
    """Why one text is in other pieces."""
    theirs = set(row.opinion.ids[change.other_start : change.other_end].tolist())
    if row.has_typed_control and theirs & row.added_ids - set(row.tokens.ids[change.start : change.end].tolist()):
        return "typed-control"
    return "encoded-apart" if row.ours_is_reference else UNEXPLAINED


def _reason(row: Rendering, change: Change, ours: str, theirs: str) -> str:
    if not row.ours_is_reference:
        return UNEXPLAINED
    if _words(ours) == _words(theirs):
        return "other-punctuation"
    if "stop" in row.tokens.kind[change.start : change.end] and not _leaves_out_whole_fields(row, change):
        return UNEXPLAINED  # what teaches to stop is no matter of writing
    if _reads_tags_in_content(row, change):
        return "tags-in-content"
    more = theirs.removesuffix(ours) if theirs.endswith(ours) else theirs.removeprefix(ours) if theirs.startswith(ours) else ""
    fields = {row.roots[index] for index in _saying(row, change)}
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


def _saying(row: Rendering, change: Change) -> list[int]:
    """maskkit's tokens in the place that are data of the conversation, and more than quotes, brackets and blanks."""
    return [index for index in range(change.start, change.end) if row.roots[index] and _words(row.tokens.piece(index))]


def _is_dropped(row: Rendering, text: str) -> bool:
    """Does the renderer's text hold, or come from, a text of the conversation that transformers does not print as it is?"""
    bare = text.strip()
    return bool(_words(bare)) and any((said in bare or bare in said) and said not in row.tokens.text for said in row.said)


def _reads_tags_in_content(row: Rendering, change: Change) -> bool:
    """Is the place in, or beside, a reply whose content holds a tag of thinking?"""
    near = set(row.tokens.message[max(change.start - 1, 0) : change.end + 1].tolist())
    near |= set(row.opinion.owner[change.other_start : change.other_end].tolist())
    contents = [row.tokens.record.messages[message].get("content") for message in near if row.is_reply(message)]
    tags = {tag for pair in row.masker.renderer.markup.reasoning_tags for tag in pair}
    return any(isinstance(content, str) and tag in content for content in contents for tag in tags)


def _is_inside_a_field(row: Rendering, change: Change) -> bool:
    """Does one field of the conversation go on over the place?"""
    tokens, before, behind = row.tokens, change.start - 1, change.end
    if before < 0 or behind >= len(tokens) or not row.roots[before]:
        return False
    return bool(tokens.message[before] == tokens.message[behind] and tokens.field[before] == tokens.field[behind])


def _is_structured(row: Rendering, change: Change) -> bool:
    """Is what maskkit has there data with a structure, that is written somehow: tools, calls, or contents that are no text?"""
    tokens = row.tokens
    for index in _saying(row, change):
        root, message = row.roots[index], int(tokens.message[index])
        if root not in (*NO_MESSAGE, "tool_calls", "function_call") and isinstance(tokens.record.messages[message].get(root), str):
            return False
    return True


def _leaves_out_whole_fields(row: Rendering, change: Change) -> bool:
    """Is everything that maskkit has of the fields in this place missing, here or in another change?"""
    tokens = row.tokens
    missing = {index for other in row.alignment.changes for index in range(other.start, other.end)}
    fields = {(int(tokens.message[index]), str(tokens.field[index])) for index in _saying(row, change)}
    of_fields = (index for index in range(len(tokens)) if (int(tokens.message[index]), str(tokens.field[index])) in fields)
    return bool(fields) and all(index in missing for index in of_fields)
