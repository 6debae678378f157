"""Records as a template sees them: dicts, lists and numbers that remember their path, with strings that trace their characters.

Python writes ``str(dict)`` in C and would lose every origin inside, so text of containers is made here, by `traced_repr` and
`stringify`. The slots start with an underscore, which the sandbox refuses, and the names are ones no record would use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from jinja2.runtime import Undefined

from maskkit.chat.owners import NOBODY
from maskkit.chat.traced import (
    DERIVED,
    ESCAPED,
    EXACT,
    TEMPLATE,
    Origin,
    Source,
    Traced,
    concat,
    covered,
    derive,
    literal,
    make,
    plain,
    source_of,
)


class TracedDict(dict[Any, Any]):
    """A dict of the data, with the path it stands at."""

    __slots__ = ("_maskkit_path",)
    _maskkit_path: Origin

    def __str__(self) -> str:
        return traced_repr(self)

    __repr__ = __str__


class Message(TracedDict):
    """A chat message: a loop body that is entered with it writes text of that message.

    Its texts and their names are traced when they are asked for: most of a conversation is printed as it is (`raw_text`), and what is
    neither copied nor looked into costs nothing.
    """

    __slots__ = ("_maskkit_fields",)
    _maskkit_fields: Fields | None
    """What is known of its fields while names or texts in it are bare; None once all of it is traced."""

    def _traced(self, key: Any) -> Any:
        """The value under a key that there is."""
        value = dict.__getitem__(self, key)
        if type(value) is str and self._maskkit_fields is not None:
            value = make(value, [(len(value), self._field(key).path, 0, EXACT, NOBODY)] if value else [])
            dict.__setitem__(self, key, value)
        return value

    def _field(self, key: str) -> Field:
        fields: Fields = self._maskkit_fields  # type: ignore[assignment]
        return fields.get(key) or _new_field(plain(key), self._maskkit_path, fields)

    def _trace_all(self) -> None:
        if self._maskkit_fields is None:
            return
        items = [(self._field(key).name, self._traced(key)) for key in dict.__iter__(self)]
        self._maskkit_fields = None
        dict.clear(self)
        for name, value in items:
            dict.__setitem__(self, name, value)

    def __getitem__(self, key: Any) -> Any:
        return self._traced(key)

    def get(self, key: Any, default: Any = None) -> Any:
        return self._traced(key) if key in self else default


def _tracing_all(name: str) -> Callable[..., Any]:
    original = getattr(dict, name)

    def method(self: Message, *args: Any, **kwargs: Any) -> Any:
        self._trace_all()
        return original(self, *args, **kwargs)

    method.__name__ = name
    return method


for _name in ("__iter__", "__reversed__", "__or__", "__ror__", "items", "keys", "values", "copy", "pop", "popitem", "setdefault"):
    setattr(Message, _name, _tracing_all(_name))


class TracedList(list[Any]):
    """A list of the data."""

    __slots__ = ("_maskkit_path",)
    _maskkit_path: Origin

    def __str__(self) -> str:
        return traced_repr(self)

    __repr__ = __str__


class TracedInt(int):
    """An integer of the data."""

    _maskkit_path: Origin

    def __str__(self) -> str:
        return at_path(int.__repr__(self), self._maskkit_path)


class TracedFloat(float):
    """A number of the data."""

    _maskkit_path: Origin

    def __str__(self) -> str:
        return at_path(float.__repr__(self), self._maskkit_path)


def at_path(text: str, path: Origin) -> Traced:
    """Text that the value at ``path`` prints as a whole."""
    return make(text, [(len(text), path, -1, DERIVED, NOBODY)] if text else [])


class Field(NamedTuple):
    """A key of a message with this index: the same for all conversations."""

    name: Traced
    path: Origin
    source: Source


Fields = dict[str, Field]


@lru_cache(maxsize=1 << 12)
def _fields_of(index: int) -> tuple[Origin, Fields]:
    """The path of the message with this index, and its keys that are known so far: one object for all conversations."""
    return ("messages", index), {}


def trace_message(message: dict[Any, Any], index: int) -> Message:
    """`trace` for the message with this index.

    Raises:
        NotPlainError: for values that are not plain JSON data.
    """
    path, fields = _fields_of(index)
    traced = Message(message)
    traced._maskkit_path, traced._maskkit_fields = path, fields
    for key, item in message.items():
        if type(key) is not str:
            found: Message = trace(message, path, Message)
            return found
        if type(item) is not str:
            dict.__setitem__(traced, key, trace(item, (*path, key)))
    return traced


def _new_field(key: str, path: Origin, fields: Fields) -> Field:
    place = (*path, key)
    found = Field(at_path(key, path), place, source_of(place))
    if len(fields) < 100:
        fields[key] = found
    return found


class NotPlainError(TypeError):
    """The data holds something that is not of a plain JSON type."""


def trace(value: Any, path: Origin, cls: type[TracedDict] = TracedDict) -> Any:
    """A copy of plain JSON data in which every string, number, dict and list remembers its path; a dict becomes one of ``cls``.

    Raises:
        NotPlainError: for a value of any other type.
    """
    kind = type(value)
    if kind is str:
        return make(value, [(len(value), path, 0, EXACT, NOBODY)] if value else [])
    if value is None or kind is bool:
        return value
    if kind is dict:
        traced = cls()
        traced._maskkit_path = path
        if type(traced) is Message:
            traced._maskkit_fields = None
        for key, item in value.items():
            if type(key) is str:
                traced[at_path(key, path)] = trace(item, (*path, key))
            else:
                traced[trace(key, path)] = trace(item, (*path, key))
        return traced
    if kind is list:
        return _with_path(TracedList([trace(item, (*path, index)) for index, item in enumerate(value)]), path)
    if kind is tuple:
        return tuple(trace(item, (*path, index)) for index, item in enumerate(value))
    if kind is int:
        return _with_path(TracedInt(value), path)
    if kind is float:
        return _with_path(TracedFloat(value), path)
    raise NotPlainError(f"{kind.__name__} is no plain JSON type")


def _with_path(value: Any, path: Origin) -> Any:
    value._maskkit_path = path
    return value


def path_of(value: Any, otherwise: Origin = TEMPLATE) -> Origin:
    """Path of a traced container or number; ``otherwise`` for anything the template made itself."""
    # Undefined values refuse to be asked.
    found: Origin = otherwise if isinstance(value, Undefined) else getattr(value, "_maskkit_path", otherwise)
    return found


def message_of(value: Any) -> int:
    """Index of the message that a loop item is about, or `NOBODY`.

    A dict that the template built from a message (``{"role": message.role, ...}``) is about that message.
    """
    kind = type(value)
    if kind is Message:
        index: int = value._maskkit_path[1]
        return index
    if kind is dict:
        for item in value.values():
            for run in item._runs if isinstance(item, Traced) else ():
                if run[1][0] == "messages" and len(run[1]) > 1:
                    return int(run[1][1])
    return NOBODY


def stringify(value: Any) -> str:
    """``str(value)`` that keeps origins. Text of objects whose content cannot be followed stays untraced, hence unknown."""
    if isinstance(value, str):
        return value
    kind = type(value)
    if isinstance(value, (dict, list, tuple)) and kind.__repr__ in _KNOWN_REPRS:
        return traced_repr(value)
    text = str(value)
    if isinstance(text, Traced):
        return text
    if value is None or kind in (bool, int, float) or isinstance(value, Undefined):
        return literal(text)
    return text


_KNOWN_REPRS = (dict.__repr__, list.__repr__, tuple.__repr__, TracedDict.__repr__, TracedList.__repr__)


def traced_repr(value: Any, path: Origin = TEMPLATE) -> Traced:
    """``repr(value)`` with the origin of every character; brackets and commas belong to the container's path."""
    if isinstance(value, str):
        return _string_repr(value, path)
    path = path_of(value, path)
    if isinstance(value, dict):
        pairs = [concat([traced_repr(k, path), _mark(": ", path), traced_repr(v, path)]) for k, v in value.items()]
        return _bracketed("{", pairs, "}", path)
    if isinstance(value, list):
        return _bracketed("[", [traced_repr(item, path) for item in value], "]", path)
    if isinstance(value, tuple) and repr(value) == tuple.__repr__(value):
        items = [traced_repr(item, path) for item in value]
        return _bracketed("(", items, ",)" if len(items) == 1 else ")", path)
    if value is None or isinstance(value, (bool, int, float, Undefined)):
        return _mark(plain(repr(value)), path)
    return Traced(plain(repr(value)))


def _bracketed(opening: str, items: list[Traced], closing: str, path: Origin) -> Traced:
    comma = _mark(", ", path)
    chunks = [chunk for item in items for chunk in (comma, item)][1:]
    return concat([_mark(opening, path), *chunks, _mark(closing, path)])


def _mark(text: str, path: Origin) -> Traced:
    return literal(text) if path is TEMPLATE else at_path(text, path)


def _string_repr(value: str, path: Origin) -> Traced:
    text = repr(plain(value))
    if not isinstance(value, Traced):
        return Traced(text)
    quote, body = text[0], text[1:-1]

    def escaped(character: str) -> str:
        if character in "'\"":
            return "\\" + character if character == quote else character
        return repr(character)[1:-1]

    chunks = [_mark(quote, path), spread(value, body, escaped), _mark(quote, path)]
    # As markupsafe shows text that needs no escaping.
    return concat([literal("Markup("), *chunks, literal(")")] if hasattr(value, "__html__") else chunks)


def spread(value: Traced, text: str, escape: Any) -> Traced:
    """``text`` is ``value`` with every character replaced by ``escape(character)``."""
    if len(text) == len(value):
        return make(text, value._runs)
    runs = []
    for character in value:
        _, origin, offset, mapping, owner = character._runs[0]
        length = len(escape(plain(character)))
        runs.append((length, origin, offset, ESCAPED if mapping == EXACT and length > 1 else mapping, owner))
    return make(text, runs) if covered(runs) == len(text) else derive(text, value)


def sources_of(value: Any) -> list[str]:
    """All the strings in a value, for text that was made of the whole of it; numbers count with their path."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [s for pair in value.items() for item in pair for s in sources_of(item)]
    if isinstance(value, (list, tuple)):
        return [s for item in value for s in sources_of(item)]
    path = path_of(value)
    return [] if path is TEMPLATE else [at_path("0", path)]


def derive_value(text: str, *values: Any) -> Traced:
    """Text made of values in a way that does not map to single characters."""
    if isinstance(text, Traced):
        return text
    roots = [path_of(value) for value in values]
    if len(values) == 1 and roots[0] is not TEMPLATE:
        return make(text, [(len(text), roots[0], -1, DERIVED, NOBODY)] if text else [])
    return derive(text, *(source for value in values for source in sources_of(value)))
