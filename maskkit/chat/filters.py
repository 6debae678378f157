"""Jinja's text filters with origins.

Most of Jinja's filters call methods of their argument, so they trace without help. The ones here build new text, and are
written again to the same result; ``tojson`` is transformers' own variant (plain ``json.dumps``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, SupportsIndex

from jinja2 import filters as jinja_filters
from jinja2.environment import Environment
from jinja2.exceptions import FilterArgumentError
from jinja2.nodes import EvalContext
from jinja2.utils import pass_environment, pass_eval_context
from markupsafe import Markup
from markupsafe import escape as markup_escape

from maskkit.chat.containers import at_path, derive_value, path_of, spread, stringify
from maskkit.chat.formatting import percent
from maskkit.chat.limits import check_items
from maskkit.chat.traced import TEMPLATE, Origin, Traced, common_origin, concat, derive, is_data, literal, make, plain, runs_of


class TracedMarkup(Traced):
    """What ``|safe`` and ``|escape`` return: like markupsafe's, text joined to it is escaped first."""

    __slots__ = ()

    def __html__(self) -> str:
        return self

    def __str__(self) -> Traced:
        return make(plain(self), self._runs)

    def __add__(self, other: Any) -> Any:
        return concat([self, escape(other)], TracedMarkup) if isinstance(other, str) else NotImplemented

    def __radd__(self, other: Any) -> Any:
        return concat([escape(other), self], TracedMarkup) if isinstance(other, str) else NotImplemented

    def __mod__(self, arguments: Any) -> Traced:
        if isinstance(arguments, tuple):
            return percent(self, tuple(_escaped_if_text(a) for a in arguments))
        if isinstance(arguments, dict):
            return percent(self, {key: _escaped_if_text(value) for key, value in arguments.items()})
        return percent(self, _escaped_if_text(arguments))

    def join(self, items: Iterable[str]) -> Traced:
        return super().join([escape(item) for item in items])

    def replace(self, old: str, new: str, count: SupportsIndex = -1) -> Traced:
        return super().replace(old, escape(new), count)

    def striptags(self) -> Traced:
        return derive(Markup(plain(self)).striptags(), self)

    def unescape(self) -> Traced:
        return derive(Markup(plain(self)).unescape(), self)


def safe(value: Any) -> TracedMarkup:
    """``|safe``: the text, marked as needing no escaping."""
    text = stringify(value)
    return TracedMarkup(plain(text), runs_of(text))


def escape(value: Any) -> TracedMarkup:
    """``|escape``: HTML escapes, each standing for the character it replaces."""
    if isinstance(value, TracedMarkup):
        return value
    text = stringify(value)
    if not isinstance(text, Traced):
        return TracedMarkup(str(markup_escape(text)))
    changed = spread(text, str(markup_escape(plain(text))), lambda character: str(markup_escape(character)))
    return TracedMarkup(plain(changed), changed._runs)


def _force_escape(value: Any) -> TracedMarkup:
    return escape(Traced(plain(value), runs_of(value)) if isinstance(value, TracedMarkup) else value)


def _escaped_if_text(value: Any) -> Any:
    return escape(value) if isinstance(value, str) else value


@pass_eval_context
def join(context: EvalContext, value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> Traced:
    """``|join``: items as text with ``d`` between them."""
    if attribute is not None:
        value = map(jinja_filters.make_attrgetter(context.environment, attribute), value)
    texts = [stringify(item) for item in value]
    if context.autoescape and any(isinstance(text, TracedMarkup) for text in (d, *texts)):
        return escape(d).join(texts)
    return concat([chunk for text in texts for chunk in (stringify(d), text)][1:])


@pass_eval_context
def replace(context: EvalContext, s: Any, old: Any, new: Any, count: int | None = None) -> str:
    """``|replace``, the first ``count`` times if that is given."""
    text, old, new = stringify(s), stringify(old), stringify(new)
    if not context.autoescape:
        text, old, new = map(str, (text, old, new))
    elif isinstance(old, TracedMarkup) or isinstance(new, TracedMarkup):
        text = escape(text)
    return text.replace(old, new, -1 if count is None else count)


def indent(s: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> Any:
    """``|indent``: spaces (or ``width`` itself) before every line but the first and blank ones."""
    check_items(width)
    indention = width if isinstance(width, str) else literal(" " * width)
    newline = literal("\n")
    if isinstance(s, TracedMarkup):
        indention, newline = safe(indention), safe(newline)
    lines = (s + newline).splitlines()
    if blank:
        result = (newline + indention).join(lines)
    else:
        result = newline.join([lines[0], *(indention + line if line else line for line in lines[1:])])
    return indention + result if first else result


def title(value: Any) -> Traced:
    """``|title``: Jinja's own idea of it, which differs from ``str.title`` after apostrophes."""
    text = stringify(value)
    changed = jinja_filters.do_title(plain(text))
    return str(text._cased(changed, str.upper, str.lower)) if isinstance(text, Traced) else Traced(changed)  # type: ignore[return-value]


def format_filter(value: Any, *args: Any, **kwargs: Any) -> Traced:
    """``|format``: the ``%`` operator."""
    if args and kwargs:
        raise FilterArgumentError("can't handle positional and keyword arguments at the same time")
    text = stringify(value)
    return (text if isinstance(text, Traced) else Traced(text)) % (kwargs or args)  # type: ignore[return-value]


def capitalize(value: Any) -> str:
    """``|capitalize``."""
    return stringify(value).capitalize()


@pass_environment
def truncate(
    environment: Environment, s: Any, length: int = 255, killwords: bool = False, end: str | None = None, leeway: int | None = None
) -> str:
    """``|truncate``: the beginning, and ``end`` where something was cut."""
    return jinja_filters.do_truncate(environment, s, length, killwords, literal("...") if end is None else end, leeway)


# -- tojson ---------------------------------------------------------------------------------------------------


class _JsonWriter:
    """Writes a value as `json.dumps` does, chunk by chunk, each chunk with its origin."""

    def __init__(self, ensure_ascii: bool, indent: int | str | None, separators: tuple[str, str] | None, sort_keys: bool) -> None:
        self.ensure_ascii = ensure_ascii
        self.indent = " " * indent if isinstance(indent, int) else indent
        self.comma, self.colon = separators or ((", ", ": ") if indent is None else (",", ": "))
        self.sort_keys = sort_keys

    def value(self, value: Any, path: Origin, depth: int) -> list[str]:
        path = path_of(value, path)
        if isinstance(value, str):
            return self.string(value, path)
        if isinstance(value, dict):
            items = sorted(value.items()) if self.sort_keys else value.items()
            entries = [[*self.string(self.key(k), path), _text(self.colon, path), *self.value(v, path, depth + 1)] for k, v in items]
            return self.block("{", entries, "}", path, depth)
        if isinstance(value, (list, tuple)):
            return self.block("[", [self.value(item, path, depth + 1) for item in value], "]", path, depth)
        return [_text(json.dumps(value), path)]

    def key(self, key: Any) -> str:
        return key if isinstance(key, str) else literal(next(iter(json.loads(json.dumps({key: 0})))))

    def block(self, opening: str, entries: list[list[str]], closing: str, path: Origin, depth: int) -> list[str]:
        if not entries:
            return [_text(opening + closing, path)]
        inner = "" if self.indent is None else "\n" + self.indent * (depth + 1)
        outer = "" if self.indent is None else "\n" + self.indent * depth
        chunks: list[str] = [_text(opening + inner, path)]
        for index, entry in enumerate(entries):
            chunks += [_text(self.comma + inner, path), *entry] if index else entry
        return [*chunks, _text(outer + closing, path)]

    def string(self, value: str, path: Origin) -> list[str]:
        body = self.escaped(plain(value))
        middle = spread(value, body, self.escaped) if isinstance(value, Traced) else Traced(body)
        if path is TEMPLATE and is_data(whose := common_origin(run[1] for run in runs_of(value))):
            path = whose
        return [_text('"', path), middle, _text('"', path)]

    def escaped(self, text: str) -> str:
        return json.dumps(text, ensure_ascii=self.ensure_ascii)[1:-1]


def _text(text: str, path: Origin) -> Traced:
    return literal(text) if path is TEMPLATE else at_path(text, path)


def tojson(
    x: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> Traced:
    """transformers' ``|tojson``: `json.dumps` without HTML escapes."""
    check_items(indent)
    text = json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    chunks = _JsonWriter(ensure_ascii, indent, separators, sort_keys).value(x, TEMPLATE, 0)
    return concat(chunks) if "".join(chunks) == text else derive_value(text, x)


def pprint(value: Any) -> Traced:
    """``|pprint``, which lays plain containers out as it does no others."""
    return derive_value(jinja_filters.do_pprint(_bare(value)), value)


def _bare(value: Any) -> Any:
    """A value as it is without tracing."""
    if isinstance(value, str):
        return Markup(plain(value)) if isinstance(value, TracedMarkup) else plain(value)
    if isinstance(value, dict):
        return {_bare(key): _bare(item) for key, item in value.items()}
    if isinstance(value, list):
        return list(map(_bare, value))
    return tuple(map(_bare, value)) if type(value) is tuple else value


# -- the rest -------------------------------------------------------------------------------------------------

_OPAQUE = ("filesizeformat", "striptags", "urlencode", "urlize", "wordwrap", "xmlattr")
"""Filters whose text does not map to characters of the value: one run, of the value's origin if it has a single one."""


def _opaque(filter_: Callable[..., Any]) -> Callable[..., Any]:
    passes_argument = hasattr(filter_, "jinja_pass_arg")

    @wraps(filter_)
    def opaque(*args: Any, **kwargs: Any) -> Any:
        result = filter_(*args, **kwargs)
        if not isinstance(result, str):
            return result
        traced = derive_value(result, args[1 if passes_argument else 0])
        return safe(traced) if hasattr(result, "__html__") else traced

    return opaque


_COUNTING = ("batch", "slice", "round", "center", "wordwrap", "urlize")
"""Filters that take a number, and do as much as it says."""


def _counting(filter_: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(filter_)
    def limited(*args: Any, **kwargs: Any) -> Any:
        for argument in (*args, *kwargs.values()):
            check_items(argument)
        return filter_(*args, **kwargs)

    return limited


def traced_filters(known: dict[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Replacements for those of the environment's filters that would lose origins."""
    opaque = {name: _opaque(known[name]) for name in _OPAQUE}
    counting = {name: _counting(opaque.get(name, known[name])) for name in _COUNTING}
    return (
        opaque
        | counting
        | {
            "capitalize": capitalize,
            "e": escape,
            "escape": escape,
            "forceescape": _force_escape,
            "format": format_filter,
            "indent": indent,
            "join": join,
            "pprint": pprint,
            "replace": replace,
            "safe": safe,
            "string": stringify,
            "title": title,
            "tojson": tojson,
            "truncate": truncate,
        }
    )
