"""One record as the template sees it, traced once and rendered as often as needed: whole, and up to each reply."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from maskkit.chat.containers import Message, NotPlainError, trace, trace_message
from maskkit.chat.continuing import tagged
from maskkit.chat.environment import render_traced
from maskkit.chat.kinds import ASSISTANT_ROLES, REASONING_FIELDS
from maskkit.chat.limits import LimitError
from maskkit.chat.markup import ReasoningTags
from maskkit.chat.owners import NOBODY
from maskkit.chat.parts import ReplyText
from maskkit.chat.reference import plain_data, with_reasoning_names
from maskkit.chat.replay import Beginning, CannotReplay, Recording
from maskkit.chat.traced import DERIVED, TEMPLATE, Origin, Traced, make
from maskkit.chat.watch import Watch, watched
from maskkit.errors import TemplateError
from maskkit.records.messages import MEDIA_TYPES

if TYPE_CHECKING:
    from jinja2.environment import Template


class TemplateStopped(TemplateError):
    """The template does more than `limits` allow."""


class Conversation:
    """The data of a record (`reference.ReferenceRenderer.visible`) and a compiled, tracing template."""

    def __init__(self, data: dict[str, Any], template: Template, source: str) -> None:
        self.source = source
        self._template = template
        self._recording: Recording | None = None
        self._beginnings: dict[tuple[int, bool], Beginning | None] = {}
        self.renderings = 0
        """How often the template has been run."""
        try:
            self._variables, self._messages = _traced(data)
        except NotPlainError:
            data = plain_data(data)
            self._variables, self._messages = _traced(data)
        self.messages: list[dict[str, Any]] = data["messages"]
        self.tools: Any = data["tools"]
        self.continued: str = data["continued"]
        """Field of the last message that is only the beginning of what it is to say; empty if it is said to the end."""

    @property
    def roles(self) -> list[str]:
        """Role of each message; empty where it has none."""
        return [str(message.get("role", "")) for message in self.messages]

    def render(self, count: int | None = None, add_generation_prompt: bool = False) -> Traced:
        """The first ``count`` messages (all if None), attributed character by character.

        Raises:
            TemplateError: the template refuses them.
        """
        return self._render(Watch(), count, add_generation_prompt)

    def render_or_none(self, count: int, add_generation_prompt: bool) -> Traced | None:
        """The same, or None if the template refuses."""
        try:
            return self.render(count, add_generation_prompt)
        except TemplateError:
            return None

    def whole(self) -> Traced:
        """All messages. `beginning` goes by it.

        Raises:
            TemplateError: the template refuses them.
        """
        recording = Recording()
        text = self._render(recording, None, False)
        recording.finished(text)
        self._recording = recording
        return text

    def beginning(self, count: int, add_generation_prompt: bool) -> Beginning | None:
        """The first ``count`` messages, as `render_or_none` gives them, at the cost of what they do not share with the conversation."""
        wanted = count, add_generation_prompt
        if wanted not in self._beginnings:
            self._beginnings[wanted] = self._beginning(count, add_generation_prompt)
        return self._beginnings[wanted]

    def _beginning(self, count: int, add_generation_prompt: bool) -> Beginning | None:
        if self._recording is not None and count:
            try:
                return self._recording.beginning(
                    count, add_generation_prompt, lambda watch: self._render(watch, count, add_generation_prompt)
                )
            except CannotReplay:
                pass
            except TemplateError:
                return None
        text = self.render_or_none(count, add_generation_prompt)
        return None if text is None else Beginning(0, text)

    def _render(self, watch: Watch, count: int | None, add_generation_prompt: bool) -> Traced:
        messages = watched(self._messages[:count], ("messages",), 0, watch)
        variables = {**self._variables, "messages": messages, "add_generation_prompt": add_generation_prompt}
        self.renderings += 1
        try:
            return render_traced(self._template, variables, watch)
        except CannotReplay:
            raise
        except LimitError as error:
            raise TemplateStopped(f"{self.source}: the chat template was stopped: {error}") from error
        except Exception as error:
            raise refusal(self.source, error) from error

    def replies(self, tags: ReasoningTags) -> dict[int, ReplyText]:
        """The assistant messages, by index; ``tags`` may stand around thinking inside their content."""
        return {
            index: ReplyText(
                dict(_strings(message.get("content"), ("messages", index, "content"))),
                tags,
                has_media=_has_media(message.get("content")),
                supplied=message.get("prefix") is True or bool(self.continued and index == len(self.messages) - 1),
            )
            for index, (message, role) in enumerate(zip(self.messages, self.roles, strict=True))
            if role in ASSISTANT_ROLES
        }


def refusal(source: str, error: BaseException, remedy: str = "") -> TemplateError:
    """The error for a row that a template refuses. Templates raise anything, from their own words to a type error. remedy: what comes after
    it, `mending.remedy_for` finds it."""
    detail = " ".join(f"{type(error).__name__}: {error}".split())
    said = detail.rstrip(".") if remedy else detail
    return TemplateError(f"{source}: the chat template refuses the conversation: {said}{remedy}")


def template_text(text: Any) -> Any:
    """Text that counts as written by the template: special tokens, the date."""
    return make(text, [(len(text), TEMPLATE, -1, DERIVED, NOBODY)] if text else []) if isinstance(text, str) else text


def _traced(data: dict[str, Any]) -> tuple[dict[str, Any], list[Message]]:
    """The template's variables apart from the messages, and the messages."""
    variables = {
        **{name: template_text(value) for name, value in data["special"].items()},
        **{name: trace(value, ("kwargs", name)) for name, value in data["kwargs"].items()},
        "tools": trace(data["tools"], ("tools",)),
        "documents": trace(data["documents"], ("documents",)),
    }
    messages = [_traced_message(message, index) for index, message in enumerate(data["messages"])]
    named = with_reasoning_names(data["messages"])
    for index, message in enumerate(data["messages"] if named is not data["messages"] else ()):
        if named[index] is not message:
            messages[index] = _as_message(with_reasoning_names(messages[index : index + 1])[0], index)
    if data["continued"]:
        tagged(messages[-1], data["continued"], REASONING_FIELDS)
    return variables, messages


def _traced_message(message: Any, index: int) -> Any:
    return trace_message(message, index) if type(message) is dict else trace(message, ("messages", index), Message)


def _has_media(content: Any) -> bool:
    return isinstance(content, list) and any(isinstance(part, dict) and part.get("type") in MEDIA_TYPES for part in content)


def _as_message(message: dict[str, Any], index: int) -> Message:
    if type(message) is Message:
        return message
    whole = Message(message)
    whole._maskkit_path, whole._maskkit_fields = ("messages", index), None
    return whole


def _strings(value: Any, path: Origin) -> Iterator[tuple[Origin, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, (dict, list)):
        items: Iterable[tuple[Any, Any]] = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _strings(item, (*path, key))
