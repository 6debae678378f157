"""What a chat template does, found by trying it: can every character be attributed, what does the prompt supply, what ends a turn?

report = template_report(tokenizer)
report.attributable, report.history, report.stop_tokens
for cell in report.cells: ...
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from maskkit.chat import ChatRenderer
from maskkit.chat.segments import RenderedText
from maskkit.errors import TemplateError
from maskkit.inspect.template_matrix import MATRIX, PLACES, ROLES
from maskkit.kinds import SegmentKind
from maskkit.records import Record, to_record

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Outcome = Literal["exact", "refused", "unknown", "different"]
Support = Literal["printed", "not printed", "refused"]

REPORT = "please report this template"
"""How errors end that are not the template's, nor the conversation's."""
_DATE = datetime(2026, 1, 1)
_MEANT: Mapping[str, str] = {
    "history-rewritten": "earlier turns are not rendered as they were served: history: as-served trains each reply as it was served",
    "reply-differs": "replies do not stand behind their prompt as it is served (a prefilled tag is missing, for example)",
    "no-stop": "no stop token follows the last reply: the model does not learn to end it",
    "prompt-refused": "the template renders a conversation, but refuses the prompt of one of its replies: that turn is not trained",
    "after-stop": "a part of a reply is printed behind the token that ends it: the model is shown it there, and it is not trained",
    "unknown-text": "some text cannot be attributed; it is not trained",
    "refused": "the template refuses the plainest conversation",
    "different": "the traced text is not transformers' own; please report this template",
}
"""Codes that make a finding of the whole template, with what they mean for it."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One conversation under the template."""

    conversation: str
    outcome: Outcome
    """``exact``: transformers' own text, each character attributed. ``unknown``: some not attributed. ``refused``: by transformers too.
    ``different``: not transformers' text."""
    reason: str
    """Why it was refused, in the template's or transformers' words."""
    findings: tuple[str, ...]
    """Codes of what was noticed about the row."""


@dataclass(frozen=True, slots=True)
class GenerationPrompt:
    """What stands between the last message and the reply."""

    arguments: str
    """Template arguments under which it is written so; empty for none."""
    text: str
    prefilled: str
    """The part of it that a reply would otherwise begin with: an opened, or empty, thinking block."""


@dataclass(frozen=True, slots=True)
class TemplateFinding:
    """What is to be known before training with the template."""

    code: str
    message: str
    conversations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TemplateReport:
    """See the module."""

    template: str
    """sha256 of the template's text, first 12 hexadecimal digits."""
    attributable: bool
    """Is every character of every conversation attributed?"""
    history: Literal["appends", "rewrites"]
    """Does a later message leave the text of earlier ones as it was?"""
    generation_prompts: tuple[GenerationPrompt, ...]
    stop_tokens: tuple[str, ...]
    """Tokens that end the replies of the conversations."""
    known_stop_tokens: tuple[str, ...]
    """Stop tokens of the tokenizer and the generation config."""
    roles: Mapping[str, Support]
    fields: Mapping[str, Support]
    cells: tuple[Cell, ...]
    findings: tuple[TemplateFinding, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def template_report(
    tokenizer: PreTrainedTokenizerBase,
    *,
    chat_template: str | None = None,
    stop_token_ids: Iterable[int] = (),
    template_kwargs: Mapping[str, Any] | None = None,
) -> TemplateReport:
    """Try the tokenizer's chat template on the conversations of `template_matrix.MATRIX`.

    chat_template: a text, or the name of one of the tokenizer's, instead of its default. stop_token_ids: of the model's generation config.
    template_kwargs: arguments for the template. Raises TemplateError if there is no template.
    """
    renderer = ChatRenderer(
        tokenizer, chat_template=chat_template, date=_DATE, stop_token_ids=stop_token_ids, template_kwargs=template_kwargs
    )
    text = _text_of(tokenizer, chat_template)
    records = {name: to_record(row, source=name) for name, row in MATRIX.items()}
    tried = {name: _tried(renderer, record) for name, record in records.items()}
    cells = tuple(cell for cell, _ in tried.values())
    rendered = {name: result for name, (_, result) in tried.items() if result is not None}
    support = {name: _support(tried[conversation][0], rendered.get(conversation), word) for name, (conversation, word) in PLACES.items()}
    return TemplateReport(
        template=hashlib.sha256(text.encode()).hexdigest()[:12],
        attributable=not any(cell.outcome in ("unknown", "different") for cell in cells),
        history="rewrites" if any("history-rewritten" in cell.findings for cell in cells) else "appends",
        generation_prompts=_generation_prompts(renderer, records["plain"], "enable_thinking" in text) if "plain" in rendered else (),
        stop_tokens=tuple(dict.fromkeys(stop for result in rendered.values() for stop in _stops(result))),
        known_stop_tokens=tuple(map(str, tokenizer.convert_ids_to_tokens(sorted(renderer.stop_token_ids)))),
        roles={"user": "printed", "assistant": "printed", **{name: support[name] for name in ROLES}},
        fields={name: found for name, found in support.items() if name not in ROLES},
        cells=cells,
        findings=_findings(cells),
    )


def _text_of(tokenizer: Any, chat_template: str | None) -> str:
    try:
        return str(tokenizer.get_chat_template(chat_template))
    except ValueError as error:
        name = getattr(tokenizer, "name_or_path", "") or "the tokenizer"
        none = f"{name} has none; take the instruct model, or give a file with a template"
        raise TemplateError(f"no chat template to check: {' '.join(str(error).split()) if tokenizer.chat_template else none}") from error


def _tried(renderer: ChatRenderer, record: Record) -> tuple[Cell, RenderedText | None]:
    try:
        rendered = renderer.render(record)
    except TemplateError as error:
        if REPORT in str(error):
            return Cell(record.source, "different", str(error), ("different",)), None
        return Cell(record.source, "refused", _one_line(error.__cause__ or error), ()), None
    codes = tuple(dict.fromkeys(finding.code for finding in rendered.findings))
    return Cell(record.source, "unknown" if "unknown-text" in codes else "exact", "", codes), rendered


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _support(cell: Cell, rendered: RenderedText | None, word: str) -> Support:
    if rendered is None:
        return "refused" if cell.outcome == "refused" else "not printed"
    return "printed" if word in rendered.text else "not printed"


def _stops(rendered: RenderedText) -> list[str]:
    return [rendered.text[segment.start : segment.end] for segment in rendered.segments if segment.kind is SegmentKind.STOP]


def _generation_prompts(renderer: ChatRenderer, record: Record, thinks: bool) -> tuple[GenerationPrompt, ...]:
    found: dict[tuple[str, str], list[str]] = {}
    for value in (None, True, False) if thinks else (None,):
        arguments = {} if value is None else {"enable_thinking": value}
        row = to_record({"messages": list(record.messages), "chat_template_kwargs": arguments}, source=record.source)
        try:
            prompt = renderer.prompt(row, 1)
            before = renderer.render(to_record({**row.row, "messages": list(row.messages[:1])}, source=record.source)).text
        except TemplateError:
            continue
        text = prompt.removeprefix(before)
        found.setdefault((text, _prefilled(renderer, text)), []).append("" if value is None else f"enable_thinking: {str(value).lower()}")
    return tuple(GenerationPrompt(_shared(arguments), *texts) for texts, arguments in found.items())


def _shared(arguments: Sequence[str]) -> str:
    return "" if "" in arguments else ", ".join(arguments)


def _prefilled(renderer: ChatRenderer, prompt: str) -> str:
    tags = renderer.markup.tags(prompt)
    begins = [tag.start for tag in tags if tag.closes or renderer.markup.closes_reasoning(tag)]
    return prompt[begins[0] :] if begins else ""


def _findings(cells: Sequence[Cell]) -> tuple[TemplateFinding, ...]:
    found = []
    for code, meaning in _MEANT.items():
        where = tuple(cell.conversation for cell in cells if code in cell.findings or (code, "plain") == (cell.outcome, cell.conversation))
        if where:
            found.append(TemplateFinding(code, meaning, where))
    return tuple(found)
