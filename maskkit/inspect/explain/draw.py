"""An explanation as lines for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from maskkit.inspect.looks import figure, style
from maskkit.inspect.selections import in_one_line
from maskkit.pages.visible import visible

if TYPE_CHECKING:
    from maskkit.inspect.explain import Alternative, Explanation, Score, Term, Weighed

_LABELS = 13
"""Width of what stands before each fact."""
_NAMES = 44
"""Most cells of a term's name before its value."""
_PLACES = 8
"""At most so many places of a text are named."""


def draw(told: Explanation, *, width: int | None = None) -> Iterator[Text]:
    """The lines to print. width: of the terminal, in cells, at which sentences are wrapped; None leaves them whole, for pipes."""
    yield Text(visible(f"tokenizer {told.tokenizer}, template {told.template}"))
    yield Text()
    yield Text(f"{visible(told.source)}, token {told.token} of {told.tokens}", style="bold")
    for label, said in _facts(told):
        yield from _fact(label, said, told, width)
    for weighed in told.weighed:
        yield Text()
        yield from _weighed(weighed, width)
    if told.others:
        yield Text()
        yield from _others(told.others, width)
    if told.score is not None:
        yield Text()
        yield from _score(told.score, told)
    for finding in told.findings:
        yield Text(f"! {finding.code}: {visible(finding.message)}", style="bold red")


def _facts(told: Explanation) -> Iterator[tuple[str, str]]:
    origin = told.origin
    yield "text", ""  # drawn with what stands around it
    shared = f", one of {len(told.shares)} that share a character ({', '.join(map(str, told.shares))})" if len(told.shares) > 1 else ""
    yield "id", f"{told.id}{shared}"
    yield "kind", told.kind
    yield "from", _place(told)
    yield "generated", origin.whose
    if told.predicted_by is None:
        yield "predicted by", "nothing: it is the first token"
    else:
        by = told.predicted_by
        yield "predicted by", f"position {by.position}, which has read {quoted(by.text)} (id {by.id}) and all before it"
    if len(told.found) > 1:
        more = ", ..." if len(told.found) > _PLACES else ""
        yield "also found", f"at token {', '.join(map(str, told.found[1:_PLACES]))}{more} (--token N explains another)"


def _place(told: Explanation) -> str:
    origin = told.origin
    if origin.message < 0 and not origin.field:
        return "the chat template"
    parts = [f"message {origin.message} ({origin.role}), turn {origin.turn}"] if origin.message >= 0 else []
    parts.append(f"field {origin.field}" if origin.field else "text of the template around it")
    if origin.offset >= 0:
        parts.append(f"from character {origin.offset}")
    return ", ".join([*parts, f"tool {origin.tool}"] if origin.tool else parts)


def _fact(label: str, said: str, told: Explanation, width: int | None) -> Iterator[Text]:
    head = Text(f"{label:<{_LABELS}}", style="dim")
    if label == "text":
        yield head.append_text(_around(told, (width or 100) - _LABELS))
        return
    for line in _wrapped(visible(said), width, _LABELS):
        yield head.append(line, style(told.kind, 0, 1).removeprefix("dim ") if label == "kind" else "not dim")
        head = Text(" " * _LABELS)


def _around(told: Explanation, room: int) -> Text:
    """The token in brackets, with as much of the text on both sides as there is room for."""
    piece, before, after = visible(told.text) or f"⟨{told.id}⟩", visible(told.origin.before), visible(told.origin.after)
    each = max((room - cell_len(piece) - 2) // 2, 4)
    start = _last_cells(before, each)
    return Text("").append(start, "dim").append(f"[{piece}]", "bold").append(set_cell_size(after, min(each, cell_len(after))), "dim")


def _last_cells(text: str, cells: int) -> str:
    while cell_len(text) > cells:
        text = text[1:]
    return text


def _weighed(weighed: Weighed, width: int | None) -> Iterator[Text]:
    for line in _wrapped(f"weighs {figure(weighed.weight)} under {visible(in_one_line(weighed.strategy))}", width, 0):
        yield Text(line, style="bold")
    yield from _terms(weighed.expression, "", "")
    if weighed.modifiers:
        yield Text(f"  when the loss is computed, {', '.join(map(visible, weighed.modifiers))} weighs it anew")


def _terms(term: Term, lead: str, below: str) -> Iterator[Text]:
    """A term, and those it is made of under it."""
    name = (
        visible(term.name) if term.operation in ("given", "same") or term.name == term.operation else f"{visible(term.name)}, {_does(term)}"
    )
    said = f"  {visible(term.note)}" if term.note else ""
    yield Text(f"  {lead}{name}{' ' * max(_NAMES - cell_len(lead + name), 1)}{figure(term.value):>8}{said}")
    for number, part in enumerate(term.terms):
        last = number == len(term.terms) - 1
        yield from _terms(part, f"{below}{'└' if last else '├'} ", f"{below}{' ' if last else '│'} ")


def _does(term: Term) -> str:
    said = {"zero": "set to 0", "max": "the largest of", "largest size": "the largest size of", "last match": "the last match of"}
    return said.get(term.operation, term.operation)


def _others(others: tuple[Alternative, ...], width: int | None) -> Iterator[Text]:
    yield Text("under other installed strategies", style="bold")
    longest = max(cell_len(other.strategy) for other in others)
    for other in others:
        lines = _wrapped(visible(other.problem), width, longest + 13) if other.weight is None else [""]
        weight = "-" if other.weight is None else figure(other.weight)
        yield Text(f"  {visible(other.strategy):<{longest}} {weight:>8}  {lines[0]}".rstrip())
        for line in lines[1:]:
            yield Text(" " * (longest + 13) + line)


def _score(score: Score, told: Explanation) -> Iterator[Text]:
    yield Text("what the model expects here", style="bold")
    figures = f"p = {figure(score.probability)}, -ln p = {figure(score.loss)}, rank {score.rank}, entropy {figure(score.entropy)} nats"
    yield Text(f"  the true token {quoted(told.text)}: {figures}")
    for weighed in told.weighed:
        under = f" under {visible(in_one_line(weighed.strategy))}" if len(told.weighed) > 1 else ""
        adds = f"{figure(weighed.weight)} x {figure(score.loss)} = {figure(weighed.weight * score.loss)}"
        yield Text(f"  it adds {adds} to the weighted sum of losses{under}")
    yield Text(f"  {'id':>7} {'p':>8}  token", style="dim")
    for guess in score.guesses:
        true = "   (the true token)" if guess.id == told.id else ""
        yield Text(f"  {guess.id:>7} {figure(guess.probability):>8}  {quoted(guess.text)}{true}")


def quoted(text: str) -> str:
    """A text between quotes, so that blanks at its ends are seen."""
    return f"'{visible(text)}'"


def _wrapped(text: str, width: int | None, margin: int) -> list[str]:
    if width is None:
        return [text]
    return textwrap.wrap(text, max(width - margin, 20), break_on_hyphens=False) or [""]
