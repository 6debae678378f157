"""transformers' side: which template a row uses, what that template may see, and the text it must render to.

Everything here goes through transformers' own functions, so that what we trace is by construction what users get. The only
thing fixed is the moment that templates print: transformers compiles one template per template text and asks the clock at
every rendering, so each renderer compiles a copy of its own whose ``strftime_now`` is bound to one moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from maskkit.chat.continuing import ARGUMENT
from maskkit.errors import TemplateError

if TYPE_CHECKING:
    from jinja2.environment import Environment, Template

    from maskkit.records import Record

RESERVED = frozenset({"add_generation_prompt", "tokenize", "conversation", "messages", "tools", "documents"})
"""Arguments of ``apply_chat_template`` that a row cannot set through ``chat_template_kwargs``."""

_NONE = type(None)


class DatedTemplate(str):
    """A template text that is equal only to itself, so that transformers compiles it apart from everybody else's copy."""

    __slots__ = ()

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other


class ReferenceRenderer:
    """``tokenizer.apply_chat_template(tokenize=False)`` at a fixed moment, and what it shows to the template."""

    def __init__(self, tokenizer: Any, template_kwargs: Mapping[str, Any], date: datetime, chat_template: str | None) -> None:
        self.tokenizer = tokenizer
        self.template_kwargs = dict(template_kwargs)
        self.date = date
        self.chat_template = chat_template
        self._dated: dict[str, DatedTemplate] = {}

    def template_of(self, record: Record) -> DatedTemplate:
        """The template text for this row: tokenizers may hold several by name, one of them for rows with tools."""
        text = self.tokenizer.get_chat_template(self.chat_template, record.tools)
        return self._dated.setdefault(text, DatedTemplate(text))

    def compiled(self, template: DatedTemplate) -> Template:
        """transformers' compiled template, with the clock stopped (again, should its cache have dropped ours)."""
        from transformers.utils import chat_template_utils

        compiled: Template = chat_template_utils._compile_jinja_template(template)
        compiled.globals["strftime_now"] = self.strftime_now
        return compiled

    @staticmethod
    def sandbox() -> Environment:
        """The environment that transformers gives to every template."""
        from transformers.utils import chat_template_utils

        environment: Environment = chat_template_utils._compile_jinja_template("").environment
        return environment

    def strftime_now(self, format: str) -> str:
        """What templates call to print the date."""
        return self.date.strftime(str.__str__(format))

    def kwargs_of(self, record: Record) -> dict[str, Any]:
        """Template arguments of a row: the renderer's, overridden by the row's own."""
        kwargs = {**self.template_kwargs, **record.template_kwargs}
        taken = sorted(RESERVED & kwargs.keys())
        if taken:
            raise TemplateError(f"{record.source}: chat_template_kwargs sets {taken[0]!r}, which maskkit sets itself: remove it")
        if ARGUMENT in self.template_kwargs:
            raise TemplateError(f"{record.source}: {ARGUMENT} is set for all rows: set it in chat_template_kwargs of the rows that need it")
        return kwargs

    def render(self, record: Record, template: DatedTemplate, add_generation_prompt: bool = False) -> str:
        """The text of the whole conversation, as transformers renders it."""
        return str(self._applied(record, template, add_generation_prompt=add_generation_prompt, tokenize=False))

    def ids(self, record: Record, template: DatedTemplate) -> list[int]:
        """The tokens of the whole conversation, as transformers encodes what it rendered."""
        return list(self._applied(record, template, add_generation_prompt=False, tokenize=True, return_dict=False))

    def _applied(self, record: Record, template: DatedTemplate, **arguments: Any) -> Any:
        self.compiled(template)
        messages = list(record.messages)
        # transformers looks at the first message to tell one conversation from several, so one without messages is the only one of several.
        conversation: list[Any] = list(messages) or [messages]
        applied: Any = self.tokenizer.apply_chat_template(
            conversation, tools=record.tools, documents=record.documents, chat_template=template, **arguments, **self.kwargs_of(record)
        )
        return applied if messages else applied[0]

    def visible(self, record: Record) -> dict[str, Any]:
        """What the template sees: messages without ``None`` values, tools, documents and arguments.

        ``continued`` is the field that `ARGUMENT` names, which is transformers' own and not the template's; empty for none.
        """
        kwargs = self.kwargs_of(record)
        continued = kwargs.pop(ARGUMENT, False)
        return {
            "messages": [_without_none(message) for message in record.messages],
            "tools": record.tools,
            "documents": record.documents,
            "special": self.tokenizer.special_tokens_map,
            "kwargs": kwargs,
            "continued": "content" if continued is True else continued or "",
        }


def _without_none(message: Mapping[str, Any]) -> dict[str, Any]:
    if type(message) is dict and _NONE not in map(type, message.values()):
        return message
    return {key: value for key, value in message.items() if value is not None}


def plain_data(data: Any) -> Any:
    """The data rebuilt of plain JSON types, as transformers does before a template sees it (older versions do not)."""
    from transformers.utils import chat_template_utils

    rebuilt = getattr(chat_template_utils, "_plain_template_data", None)
    return data if rebuilt is None else rebuilt(data)


def with_reasoning_names(messages: list[Any]) -> list[dict[str, Any]]:
    """Messages whose reasoning is found under every name that templates read, in transformers' key order (older versions give it no other
    name)."""
    from transformers.utils import chat_template_utils

    aliased = getattr(chat_template_utils, "_alias_reasoning_fields", None)
    names = getattr(chat_template_utils, "_REASONING_FIELDS", ())
    if aliased is None or (names and set(map(type, messages)) <= {dict} and set().union(*messages).isdisjoint(names)):
        return messages
    named: list[dict[str, Any]] = aliased(messages)
    return named
