"""A record in, its rendered text with every character attributed out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from maskkit.chat.compiler import FLAG
from maskkit.chat.continuing import cut_at_tag, said_to_the_end
from maskkit.chat.conversation import Conversation, TemplateStopped, refusal, template_text
from maskkit.chat.dropped import dropped_text, media_placeholders
from maskkit.chat.environment import TracingEnvironment
from maskkit.chat.generated import TurnFinder
from maskkit.chat.kinds import ASSISTANT_ROLES
from maskkit.chat.labelling import Labeller
from maskkit.chat.markup import Markup
from maskkit.chat.mending import remedy_for
from maskkit.chat.reference import DatedTemplate, ReferenceRenderer
from maskkit.chat.segments import RenderedText, Segment
from maskkit.chat.served import ServedTurn, served_turn, stopped
from maskkit.chat.spans import spans_of
from maskkit.chat.traced import Traced, plain
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
        reasoning_tags: opening and closing tags that stand around thinking, beside those of `markup.REASONING_TAGS`.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        template_kwargs: Mapping[str, Any] | None = None,
        date: datetime | None = None,
        chat_template: str | None = None,
        stop_token_ids: Iterable[int] = (),
        reasoning_tags: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.tokenizer = tokenizer
        self.date = date or datetime.now()
        self.markup = Markup(tokenizer, stop_token_ids, reasoning_tags)
        self.stop_token_ids = self.markup.stop_token_ids
        """Ids that are known to end a turn."""
        self._reference = ReferenceRenderer(tokenizer, template_kwargs or {}, self.date, chat_template)
        self._compiled: dict[str, Template] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Compiled templates stay behind: another process compiles its own."""
        return {**self.__dict__, "_compiled": {}}

    def render(self, record: Record) -> RenderedText:
        """The conversation's text with its segments and findings.

        Raises:
            TemplateError: the template refuses the conversation, or the traced text is not transformers' own.
        """
        template = self._template_of(record)
        # Tracing comes first: it runs within limits, and transformers would not.
        conversation = self._conversation(record, template)
        text = self._traced(conversation, record, template)
        if conversation.continued:
            text = cut_at_tag(text)
        self._checked(text, record, template, add_generation_prompt=False)
        return self._attributed(conversation, text, template)

    def prompt(self, record: Record, message: int) -> str:
        """The prompt that assistant message ``message`` was served: the messages before it and the generation prompt.

        Raises:
            TemplateError: the template refuses it, or the traced text is not transformers' own.
        """
        before, template = _before(record, message), self._template_of(record)
        text = self._conversation(before, template).render(add_generation_prompt=True)
        return self._checked(text, before, template, add_generation_prompt=True)

    def transformers_ids(self, record: Record) -> list[int]:
        """What ``apply_chat_template(tokenize=True)`` itself makes of the conversation, at this renderer's date.

        Raises:
            TemplateError: the template refuses it.
        """
        try:
            return self._reference.ids(record, self._template_of(record))
        except TemplateError:
            raise
        except Exception as error:
            raise refusal(record.source, error) from error

    def template_arguments(self, record: Record) -> dict[str, Any]:
        """The arguments that the template gets for a record: the renderer's, overridden by the row's own."""
        return self._reference.kwargs_of(record)

    def served(self, record: Record, message: int) -> ServedTurn | Finding:
        """Assistant message ``message`` as it was served, whatever came later; a finding where there is no telling.

        Of what came later, only a stop token that is the next role's marker is taken.

        Raises:
            TemplateError: the template refuses the conversation up to that message, or a traced text is not transformers' own.
        """
        before, template = _before(record, message), self._template_of(record)
        conversation = self._conversation(before, template)
        prompt = conversation.render_or_none(message, True)
        if prompt is None:
            return Finding("prompt-refused", f"the template refuses the prompt of assistant message {message}")
        text = self._checked(prompt, before, template, add_generation_prompt=True)
        spans = spans_of(prompt)
        segments = Labeller(text, spans, [], conversation.roles, self.markup).segments()
        rendered = self.render(_before(record, message + 1))
        turn = served_turn(message, RenderedText(text, segments, (), tuple(spans)), rendered)
        if isinstance(turn, Finding):
            return turn
        if turn.reply.segments[-1].kind is not SegmentKind.STOP:
            turn = stopped(turn, self._stop_after(record, message))
        # What templates leave out of earlier replies is what a server leaves out: only the row's other text is missed.
        others = [{} if role in ASSISTANT_ROLES else said for role, said in zip(conversation.roles, record.messages, strict=False)]
        dropped = dropped_text([*others, record.messages[message]], record.tools, rendered.spans, self.markup.reasoning_tags)
        media = media_placeholders(record.messages[: message + 1])
        return replace(turn, findings=(*turn.findings, *dropped, *media, *_unknown_text(turn.reply.segments)))

    def _stop_after(self, record: Record, message: int) -> str:
        """The stop token of an assistant message as the one behind it brings it: the next role's marker, in some families."""
        if message + 1 >= len(record.messages):
            return ""
        try:
            rendered = self.render(_before(record, message + 2))
        except TemplateError:
            return ""
        stops = [segment for segment in rendered.segments if segment.kind is SegmentKind.STOP and segment.message == message]
        return rendered.text[stops[-1].start : stops[-1].end] if stops else ""

    def _template_of(self, record: Record) -> DatedTemplate:
        try:
            return self._reference.template_of(record)
        except ValueError as error:
            if not getattr(self.tokenizer, "chat_template", None):
                raise TemplateError(
                    f"{record.source}: the row is a conversation, and the tokenizer has no chat template: take the instruct model, or save "
                    "the tokenizer with tokenizer.chat_template set; rows of text, or of prompt and completion, need none"
                ) from error
            raise TemplateError(f"{record.source}: no chat template for this row: {' '.join(str(error).split())}") from error

    def _traced(self, conversation: Conversation, record: Record, template: DatedTemplate) -> Traced:
        try:
            return conversation.whole()
        except TemplateStopped:
            raise
        except TemplateError as error:
            self._expected(record, template)
            raise TemplateError(f"{error}, but only where it is traced; please report this template") from error

    def _checked(self, text: Traced, record: Record, template: DatedTemplate, *, add_generation_prompt: bool) -> str:
        _check_same(plain(text), self._expected(record, template, add_generation_prompt), record.source)
        return plain(text)

    def _expected(self, record: Record, template: DatedTemplate, add_generation_prompt: bool = False) -> str:
        try:
            return self._reference.render(record, template, add_generation_prompt)
        except TemplateError:
            raise
        except Exception as error:
            remedy = remedy_for(record.messages, lambda messages: self._takes(replace(record, messages=messages), template))
            raise refusal(record.source, error, remedy) from error

    def _takes(self, record: Record, template: DatedTemplate) -> bool:
        """Does the template render the conversation?"""
        try:
            self._reference.render(record, template)
        except Exception:  # a template may raise anything, and a refusal is an answer here
            return False
        return True

    def _conversation(self, record: Record, template: DatedTemplate) -> Conversation:
        try:
            return Conversation(self._reference.visible(record), self._compile(template), record.source)
        except TemplateError:
            raise
        except Exception as error:
            # In transformers' words, if it has any.
            self._expected(record, template)
            raise refusal(record.source, error) from error

    def _compile(self, template: DatedTemplate) -> Template:
        text = plain(template)
        if text not in self._compiled:
            theirs = self._reference.sandbox()
            shared = {**theirs.globals, "strftime_now": lambda format: template_text(self._reference.strftime_now(format))}
            self._compiled[text] = TracingEnvironment(shared, theirs.filters).from_string(text)
        return self._compiled[text]

    def _attributed(self, conversation: Conversation, text: Traced, template: str) -> RenderedText:
        spans = spans_of(text)
        finder = TurnFinder(plain(text), spans, self.markup, conversation.beginning, self.tokenizer, FLAG in template)
        generated = finder.find(conversation.replies(self.markup.tags_inside(template)))
        segments = Labeller(plain(text), spans, generated.turns, conversation.roles, self.markup).segments()
        dropped = dropped_text(conversation.messages, conversation.tools, spans, self.markup.reasoning_tags)
        noticed = (*generated.findings, *dropped, *media_placeholders(conversation.messages), *_unknown_text(segments))
        return RenderedText(plain(text), segments, noticed, tuple(spans))


def _before(record: Record, message: int) -> Record:
    """The record up to a message; only a whole one can be continued."""
    if message >= len(record.messages):
        return record
    return replace(record, messages=record.messages[:message], template_kwargs=said_to_the_end(record.template_kwargs))


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
