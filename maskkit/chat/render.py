"""A record in, its rendered text with every character attributed out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from maskkit.chat.containers import trace
from maskkit.chat.dropped import dropped_text
from maskkit.chat.environment import TracingEnvironment, render_traced
from maskkit.chat.generated import TurnFinder
from maskkit.chat.kinds import ASSISTANT_ROLES
from maskkit.chat.labelling import Labeller
from maskkit.chat.markup import Markup
from maskkit.chat.owners import NOBODY
from maskkit.chat.parts import ReplyText
from maskkit.chat.reference import DatedTemplate, ReferenceRenderer, with_reasoning_names
from maskkit.chat.segments import RenderedText, Segment
from maskkit.chat.spans import spans_of
from maskkit.chat.traced import DERIVED, TEMPLATE, Traced, make, plain
from maskkit.errors import TemplateError
from maskkit.findings import Finding
from maskkit.kinds import SegmentKind

if TYPE_CHECKING:
    from jinja2.environment import Template

    from maskkit.records import Record


class ChatRenderer:
    """Renders conversations with a tokenizer's chat template and says where every character comes from.

    One per tokenizer; each template is compiled once. The text of every rendering is compared with transformers' own.

    Args:
        tokenizer: a transformers tokenizer with a chat template.
        template_kwargs: arguments for the template, such as ``enable_thinking``; a row's own override them.
        date: the moment that templates print, fixed for the life of the renderer; now if not given.
        chat_template: a template text, or the name of one of the tokenizer's, instead of its default.
        stop_token_ids: ids that end a turn beside ``tokenizer.eos_token_id``, such as those of a generation config.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        template_kwargs: Mapping[str, Any] | None = None,
        date: datetime | None = None,
        chat_template: str | None = None,
        stop_token_ids: Iterable[int] = (),
    ) -> None:
        self.tokenizer = tokenizer
        self.date = date or datetime.now()
        self.markup = Markup(tokenizer, stop_token_ids)
        self.stop_token_ids = self.markup.stop_token_ids
        self._reference = ReferenceRenderer(tokenizer, template_kwargs or {}, self.date, chat_template)
        self._compiled: dict[int, Template] = {}

    def render(self, record: Record) -> RenderedText:
        """The conversation's text with its segments and findings.

        Raises:
            TemplateError: the template refuses the conversation, or the traced text is not transformers' own.
        """
        template = self._template_of(record)
        expected = self._expected(record, template)
        data = self._reference.visible(record)
        text = self._traced(record, template, data, data["messages"], False)
        _check_same(plain(text), expected, record.source)
        return self._attributed(record, template, data, text)

    def prompt(self, record: Record, message: int) -> str:
        """The prompt that assistant message ``message`` was served: the messages before it and the generation prompt.

        Raises:
            TemplateError: the template refuses it.
        """
        template = self._template_of(record)
        data = self._reference.visible(record)
        return plain(self._traced(record, template, data, data["messages"][:message], True))

    # -- rendering --------------------------------------------------------------------------------------------

    def _template_of(self, record: Record) -> DatedTemplate:
        try:
            return self._reference.template_of(record)
        except ValueError as error:
            raise TemplateError(f"{record.source}: {_one_line(error)}") from error

    def _expected(self, record: Record, template: DatedTemplate) -> str:
        try:
            return self._reference.render(record, template)
        except TemplateError:
            raise
        except Exception as error:
            # Whatever a template raises, from its own raise_exception to a type error, is its refusal of this row.
            raise TemplateError(f"{record.source}: the chat template refuses the conversation: {_one_line(error)}") from error

    def _traced(
        self, record: Record, template: DatedTemplate, data: dict[str, Any], messages: list[dict[str, Any]], add_generation_prompt: bool
    ) -> Traced:
        traced = with_reasoning_names([trace(message, ("messages", i), as_message=True) for i, message in enumerate(messages)])
        variables = {
            **{name: _template_text(value) for name, value in data["special"].items()},
            **{name: trace(value, ("kwargs", name)) for name, value in data["kwargs"].items()},
            "messages": trace_list([_as_message(message, i) for i, message in enumerate(traced)]),
            "tools": trace(data["tools"], ("tools",)),
            "documents": trace(data["documents"], ("documents",)),
            "add_generation_prompt": add_generation_prompt,
        }
        try:
            return render_traced(self._compile(template), variables)
        except Exception as error:
            raise TemplateError(f"{record.source}: the chat template refuses the conversation: {_one_line(error)}") from error

    def _compile(self, template: DatedTemplate) -> Template:
        compiled = self._compiled.get(id(template))
        if compiled is None:
            theirs = self._reference.compiled(template).environment
            shared = {**theirs.globals, "strftime_now": lambda format: _template_text(self._reference.strftime_now(format))}
            compiled = TracingEnvironment(shared, theirs.filters).from_string(plain(template))
            self._compiled[id(template)] = compiled
        return compiled

    # -- attribution ------------------------------------------------------------------------------------------

    def _attributed(self, record: Record, template: DatedTemplate, data: dict[str, Any], text: Traced) -> RenderedText:
        messages = data["messages"]
        roles = [str(message.get("role", "")) for message in messages]
        spans = spans_of(text)

        def rendering_of(count: int, add_generation_prompt: bool) -> Traced | None:
            if count == 0:
                return None
            try:
                return self._traced(record, template, data, messages[:count], add_generation_prompt)
            except TemplateError:
                return None

        closing_alone = self.markup.familys_closings(template)
        replies = {
            index: ReplyText(dict(_strings(message.get("content"), ("messages", index, "content"))), closing_alone)
            for index, message in enumerate(messages)
            if roles[index] in ASSISTANT_ROLES
        }
        finder = TurnFinder(text, spans, self.markup, rendering_of, self.tokenizer)
        generated = finder.find(replies)
        segments = Labeller(plain(text), spans, generated.turns, roles, self.markup).segments()
        findings = [*generated.findings, *dropped_text(messages, data["tools"], spans), *_unknown_text(segments)]
        return RenderedText(plain(text), segments, tuple(findings))


def trace_list(messages: list[Any]) -> Any:
    """The list of traced messages, itself traced."""
    traced = trace([], ("messages",))
    traced.extend(messages)
    return traced


def _as_message(message: dict[str, Any], index: int) -> Any:
    whole = trace({}, ("messages", index), as_message=True)
    whole.update(message)
    return whole


def _template_text(text: Any) -> Any:
    """Text that counts as written by the template: special tokens, the date."""
    return make(text, [(len(text), TEMPLATE, -1, DERIVED, NOBODY)] if text else []) if isinstance(text, str) else text


def _strings(value: Any, path: tuple[Any, ...]) -> Iterable[tuple[tuple[Any, ...], str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _strings(item, (*path, key))


def _unknown_text(segments: Iterable[Segment]) -> list[Finding]:
    count = sum(segment.end - segment.start for segment in segments if segment.kind is SegmentKind.UNKNOWN)
    return [Finding("unknown-text", f"{count} characters could not be attributed", count)] if count else []


def _check_same(traced: str, expected: str, source: str) -> None:
    if traced == expected:
        return
    at = next((i for i, (a, b) in enumerate(zip(traced, expected, strict=False)) if a != b), min(len(traced), len(expected)))
    found, wanted = traced[at : at + 30], expected[at : at + 30]
    raise TemplateError(
        f"{source}: the traced rendering differs from transformers' own at character {at}: found {found!r}, expected {wanted!r}; "
        "please report this template"
    )


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
