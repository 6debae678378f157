"""The sandboxed Jinja environment that renders with origins.

Everything that makes it a sandbox is Jinja's own. For the lookups that templates do most, `TracingEnvironment` knows the sandbox's
answer beforehand: names that a dict does not have are keys, and what loops, namespaces and texts show is listed here.
"""

from __future__ import annotations

import string
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from types import MethodType
from typing import Any

from jinja2 import nodes
from jinja2.environment import Template
from jinja2.ext import loopcontrols
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter
from jinja2.utils import Namespace, generate_lorem_ipsum, missing
from markupsafe import Markup

from maskkit.chat import owners
from maskkit.chat.compiler import GenerationExtension, TracingCodeGenerator, TracingTransformer
from maskkit.chat.containers import Message, TracedDict, message_of, stringify
from maskkit.chat.filters import TracedMarkup, escape, safe, traced_filters
from maskkit.chat.formatting import brace_format
from maskkit.chat.limits import CHARACTERS, SECONDS, check_characters, check_format, check_items, check_operands, limited, step
from maskkit.chat.output import assemble, assemble_checked, owned
from maskkit.chat.traced import EMPTY, Traced, concat, literal, plain
from maskkit.chat.watch import ORDER, MessageList, MessageRange, Watch, WatchedLoop, attributes_of

_raw = dict.get
"""A dict's value as it stands there: of messages, not traced."""
_DICTS = (Message, TracedDict, dict)
_PLAIN = frozenset({str, Traced, int, bool, float, list, tuple, dict, *_DICTS})
_DICT_NAMES = frozenset(name for kind in _DICTS for name in dir(kind))
_LOOP_NAMES = frozenset(
    {"index", "index0", "first", "last", "length", "previtem", "nextitem", "revindex", "revindex0", "depth", "depth0", "cycle", "changed"}
)
_TEXT_METHODS = frozenset(
    {
        "strip", "lstrip", "rstrip", "split", "rsplit", "splitlines", "startswith", "endswith", "replace", "upper", "lower", "title",
        "capitalize", "partition", "rpartition", "removeprefix", "removesuffix", "find", "rfind", "count", "join", "isdigit", "isspace",
    }
)  # fmt: skip


class Literals(dict[str, Traced]):
    """The constants of a template, by their names in its code."""

    def __init__(self) -> None:
        super().__init__()
        self._names: dict[str, str] = {}

    def name_of(self, text: str) -> str:
        """The name of a constant."""
        if text not in self._names:
            name = self._names[text] = f"literal_{len(self)}"
            self[name] = literal(text)
        return self._names[text]


class TracingMacro(Macro):
    """A macro whose text stays traced where ``{% autoescape true %}`` makes it Markup."""

    def _invoke(self, arguments: list[Any], autoescape: bool) -> str:
        step()
        text: str = self._func(*arguments)
        return safe(text) if autoescape else text


class TracingTemplate(Template):
    """A compiled template whose code finds traced versions of what Jinja's runtime gives it."""

    @classmethod
    def _from_namespace(cls, environment: Any, namespace: Any, globals: Any) -> Template:
        namespace.update(environment.literals, bare_text=_raw, no_source=EMPTY)
        namespace.update(Markup=safe, Macro=TracingMacro, LoopContext=WatchedLoop, markup_join=_markup_join, str_join=environment.joined)
        return super()._from_namespace(environment, namespace, globals)


class TracingEnvironment(ImmutableSandboxedEnvironment):
    """transformers' sandbox for chat templates, with origins; one per template."""

    code_generator_class = TracingCodeGenerator
    template_class = TracingTemplate
    concat = staticmethod(assemble)

    intercepted_binops = frozenset({"+", "*", "**"})
    step = staticmethod(step)
    enter_loop = staticmethod(owners.enter_loop)
    leave_loop = staticmethod(owners.leave_loop)
    owned = staticmethod(owned)

    def __init__(self, globals_: dict[str, Any], filters: dict[str, Callable[..., Any]]) -> None:
        super().__init__(trim_blocks=True, lstrip_blocks=True, optimized=False, extensions=[GenerationExtension, loopcontrols])
        self.literals = Literals()
        self.globals.update(globals_)
        self.filters.update(filters)
        self.filters.update(traced_filters(self.filters))

    def _generate(self, source: nodes.Template, name: str | None, filename: str | None, defer_init: bool = False) -> str:
        return super()._generate(TracingTransformer(source).visit(source), name, filename, defer_init=defer_init)

    # -- what compiled code calls -----------------------------------------------------------------------------

    @staticmethod
    def enter_iteration(*items: Any) -> str:
        """The body of a loop begins, with these loop variables."""
        step()
        for item in items:
            if type(item) is Message:
                return owners.enter_iteration(item._maskkit_path[1])
            message = message_of(item)
            if message != owners.NOBODY:
                return owners.enter_iteration(message)
        return owners.enter_iteration(owners.NOBODY)

    @staticmethod
    def adopt(value: Any) -> str:
        """A variable was picked by index."""
        return owners.adopt(message_of(value))

    @staticmethod
    def walk(context: Context, iterable: Any, free: tuple[str, ...], number: int) -> Any:
        """The loop ``number`` at the top of the template begins, in which namespaces' attributes ``free`` are only compared."""
        return iterable._maskkit_watch.walk(context, iterable, free, number) if type(iterable) in (MessageList, MessageRange) else iterable

    def range_to(self, context: Context, function: Any, start: Any, items: Any) -> Any:
        """``range(start, items|length)`` that a loop walks over; ``function`` is what the template knows as ``range``."""
        if type(items) is MessageList and function is self.globals["range"]:
            return MessageRange(items, self.globals["range"](start, list.__len__(items)))
        length: Callable[[Any], int] = self.filters["length"]
        return self.call(context, function, start, length(items))

    @staticmethod
    def compared(context: Context, left: Any, right: Any, comparison: str, side: str, name: str) -> Any:
        """A namespace's attribute ``name``, on one side, is compared."""
        compare = ORDER[comparison]
        watch = _watch_of(context)
        if watch is not None and side == "left":
            watch.compared(name, left, right, lambda value: compare(value, right))
        elif watch is not None:
            watch.compared(name, right, left, lambda value: compare(left, value))
        return compare(left, right)

    @staticmethod
    def found(*places: tuple[Any, str, Any]) -> bool:
        """Do these attributes of namespaces hold what ends a search (`searches`)?"""
        return all(isinstance(namespace, Namespace) and _holds(namespace, name, value) for namespace, name, value in places)

    @staticmethod
    def is_message(item: Any) -> bool:
        """Is the loop's item a message?"""
        return type(item) is Message

    @staticmethod
    def flag(context: Context, value: Any) -> Any:
        """``add_generation_prompt`` is looked at."""
        watch = _watch_of(context)
        if watch is not None:
            watch.flag()
        return value

    @staticmethod
    def emit(value: Any) -> str:
        """What an output expression prints."""
        return value if type(value) is Traced else stringify(value)

    @staticmethod
    def emit_escaped(value: Any) -> str:
        """What an output expression prints inside ``{% autoescape true %}``."""
        return escape(value)

    @staticmethod
    def text(value: Any) -> str:
        """One term of a sum that contains text."""
        # Whatever fails to be added to text fails here.
        return value if isinstance(value, str) else "" + value

    @staticmethod
    def joined(values: Iterable[Any]) -> Traced:
        """``a ~ b``."""
        return concat(map(stringify, values))

    def peek_item(self, obj: Any, key: str) -> Any:
        """``obj[key]`` of which only the truth, or a comparison's or a test's, is wanted: a message's text as it is."""
        value = _raw(obj, key, missing) if type(obj) is Message else missing
        return value if value is not missing else self.getitem(obj, key)

    def peek_attribute(self, obj: Any, key: str) -> Any:
        """``obj.key``, likewise."""
        value = _raw(obj, key, missing) if type(obj) is Message and key not in _DICT_NAMES else missing
        return value if value is not missing else self.getattr(obj, key)

    @staticmethod
    def source(obj: Any, key: str, trimmed: bool) -> str:
        """What goes before a message's text that is printed just as it stands there, or ``|trim`` med at its end; `EMPTY` for any other."""
        if type(obj) is Message:
            text, fields = _raw(obj, key), obj._maskkit_fields
            if type(text) is str and text and fields is not None and not (trimmed and text[0].isspace()):
                return (fields.get(key) or obj._field(key)).source
        return EMPTY

    # -- the sandbox ------------------------------------------------------------------------------------------

    def getattr(self, obj: Any, attribute: str) -> Any:
        """The sandbox's ``obj.attribute``."""
        kind = type(obj)
        if kind in _DICTS:
            if attribute not in _DICT_NAMES:
                value = _raw(obj, attribute, missing)
                if type(value) is str and kind is Message:
                    return obj[attribute]
                return value if value is not missing else self.undefined(obj=obj, name=attribute)
            if kind is Message:
                obj._trace_all()
                method = super().getattr(obj, attribute)
                # A dict's own methods do: there is nothing left to trace.
                return getattr(super(Message, obj), attribute) if type(method) is MethodType else method
        elif (kind is Traced and attribute in _TEXT_METHODS) or (kind is WatchedLoop and attribute in _LOOP_NAMES):
            return getattr(obj, attribute)
        elif isinstance(obj, Namespace) and attribute[:1] != "_":
            value = attributes_of(obj).get(attribute)
            if type(value) in _PLAIN:
                return value
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """The sandbox's ``obj[argument]``."""
        if type(obj) is Message and type(argument) is str:
            value = _raw(obj, argument, missing)
            if value is not missing:
                return value if type(value) is not str else obj[argument]
        return super().getitem(obj, argument)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """The sandbox's ``obj(...)``."""
        if type(__obj) is MethodType and type(__obj.__self__) is Traced and __obj.__name__ in _TEXT_METHODS:
            kwargs.pop("_loop_vars", None)
            kwargs.pop("_block_vars", None)
            return __obj(*args, **kwargs)
        return super().call(__context, __obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """The sandbox's operators, within limits."""
        if not (type(left) is Traced and operator == "+"):
            check_operands(operator, left, right)
        return self.binop_table[operator](left, right)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """The sandbox's ``str.format``: fields are looked up by the sandbox, so private attributes stay refused."""
        text = getattr(value, "__self__", None)
        if isinstance(text, TracedMarkup) and value.__name__ in ("format", "format_map"):
            escaping = super().wrap_str_format(getattr(Markup(plain(text)), value.__name__))
            return lambda *args, **kwargs: TracedMarkup(str.__str__(escaping(*args, **kwargs)))  # type: ignore[misc]
        checked = super().wrap_str_format(value)
        if checked is None or not isinstance(text, Traced):
            return checked
        formatter: string.Formatter = SandboxedFormatter(self)

        def traced_format(*args: Any, **kwargs: Any) -> str:
            if value.__name__ == "format_map" and len(args) != 1:
                return checked(*args, **kwargs)
            named = args[0] if value.__name__ == "format_map" else kwargs
            check_format(plain(text), (*args, *named.values()))
            result = plain(checked(*args, **kwargs))
            if value.__name__ == "format_map":
                return brace_format(text, result, (), args[0], formatter)
            return brace_format(text, result, args, kwargs, formatter)

        return traced_format


def _holds(namespace: Namespace, name: str, value: Any) -> bool:
    held = attributes_of(namespace).get(name, missing)
    return (type(held) is type(value) or isinstance(held, str)) and bool(held == value)


def _watch_of(context: Context) -> Watch | None:
    messages = context.parent.get("messages")
    return messages._maskkit_watch if type(messages) is MessageList else None


def _markup_join(values: Iterable[Any]) -> TracedMarkup:
    """``a ~ b`` inside ``{% autoescape true %}``, as Jinja has it: text until something is Markup, then all is."""
    items = list(values)
    if any(hasattr(item, "__html__") for item in items):
        return concat([escape(item) for item in items], TracedMarkup)  # type: ignore[return-value]
    return concat(map(stringify, items))  # type: ignore[return-value]


CHUNKS = 32
"""After so many chunks of output its length is looked at."""


def render_traced(template: Template, variables: dict[str, Any], watch: Watch | None = None) -> Traced:
    """The template's text, from ``watch.tail_begins`` on, with the origin of every character; ``watch`` follows the rendering."""
    watch = watch or Watch()
    keep = watch.chunks.append
    shared = {"namespace": watch.namespace_class(template.globals["namespace"]), "lipsum": _lipsum, **variables}
    seen = written = 0
    with owners.fresh_owners(), limited(SECONDS):
        chunks = map(keep, template.root_render_func(template.new_context(shared)))
        while True:
            deque(islice(chunks, CHUNKS), maxlen=0)
            if len(watch.chunks) == seen:
                check_characters(written)
                return assemble_checked(watch.chunks[watch.tail_begins :])
            written += sum(map(len, watch.chunks[seen:]))
            seen = len(watch.chunks)
            if written > CHARACTERS:
                check_characters(written)


def _lipsum(n: int = 5, html: bool = True, min: int = 20, max: int = 100) -> str:
    for count in (n, min, max):
        check_items(count * 1000)
    return generate_lorem_ipsum(n, html, min, max)
